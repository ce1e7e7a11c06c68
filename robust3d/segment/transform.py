# SPDX-License-Identifier: Apache-2.0
"""Input transforms, which a defended model applies to a volume before anything else, and how gradients pass them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import conv3d, pad

from robust3d.foundation.errors import InputError
from robust3d.volume.channels import as_image, by_channel

_REACH = 4.0
"""Reach of the Gaussian, in standard deviations."""


class InputTransform(Protocol):
    """A function of a volume within a range, channel by channel, with a backward pass that attacks can follow."""

    def __call__(self, image: Tensor) -> Tensor:
        """Return the transformed volume; same shape, device and unit."""

    def backward(self, image: Tensor, gradient: Tensor) -> Tensor:
        """Turn a gradient with respect to the transformed volume into one with respect to ``image``."""

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready settings for hashes and result rows."""


@dataclass(frozen=True)
class Smoothing:
    """Truncation, then a Gaussian filter whose border repeats the outermost voxels; its gradient is exact.

    Parameters
    ----------
    sigma : float
        Standard deviation in voxels, the same along each axis.
    low, high : float
        Truncation window in the volume's unit; without it one voxel of metal would shine far into its surroundings.
    """

    sigma: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise InputError(f"the sigma of a smoothing is a positive number of voxels, not {self.sigma:g}")

    def __call__(self, image: Tensor) -> Tensor:
        """Return the filtered volume, within the window."""
        # The weights add up to 1 but for rounding, which would take flat voxels at a bound beyond it, where the model's
        # own truncation has no gradient.
        return self._filtered(image).clamp(self.low, self.high)

    def backward(self, image: Tensor, gradient: Tensor) -> Tensor:
        """Return the exact gradient of the filter; 0 where truncation is active."""
        with torch.enable_grad():
            leaf = image.detach().requires_grad_(True)
            (result,) = torch.autograd.grad(self._filtered(leaf), leaf, gradient)
        return result

    def settings(self) -> dict[str, Any]:
        """Return kind and parameters."""
        return {"kind": "smoothing"} | asdict(self)

    def _filtered(self, image: Tensor) -> Tensor:
        reach = math.floor(_REACH * self.sigma + 0.5)
        places = torch.arange(-reach, reach + 1, dtype=torch.float64)
        kernel = torch.exp(-places.square() / (2 * self.sigma**2))
        kernel = (kernel / kernel.sum()).to(image)
        smooth = by_channel(image).clamp(self.low, self.high)[:, None]
        for axis in range(3):
            # Of the three axes in turn; pad counts from the last one.
            margins = [0] * 6
            margins[4 - 2 * axis : 6 - 2 * axis] = [reach, reach]
            shape = [1, 1, 1, 1, 1]
            shape[2 + axis] = -1
            smooth = conv3d(pad(smooth, margins, mode="replicate"), kernel.view(shape))
        return as_image(smooth[:, 0])


@dataclass(frozen=True)
class BitDepth:
    """Truncation, then rounding to equally spaced levels (Xu et al., arXiv:1704.01155).

    Its derivative is 0 almost everywhere, which would hide the network from gradients; the backward pass takes it for
    the identity instead (backward pass differentiable approximation, Athalye et al., arXiv:1802.00420, section 4.1).

    Parameters
    ----------
    bits : int
        The window holds 2^bits levels, its ends included.
    low, high : float
        Truncation window in the volume's unit.
    """

    bits: int
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise InputError(f"a bit depth has from 1 to 16 bits, not {self.bits}")

    def __call__(self, image: Tensor) -> Tensor:
        """Return the volume of the nearest levels."""
        spacing = (self.high - self.low) / ((1 << self.bits) - 1)
        return self.low + ((image.clamp(self.low, self.high) - self.low) / spacing).round() * spacing

    def backward(self, image: Tensor, gradient: Tensor) -> Tensor:
        """Return ``gradient``; 0 where truncation is active."""
        return torch.where((image >= self.low) & (image <= self.high), gradient, 0.0)

    def settings(self) -> dict[str, Any]:
        """Return kind and parameters."""
        return {"kind": "bit_depth"} | asdict(self)
