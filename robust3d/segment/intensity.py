# SPDX-License-Identifier: Apache-2.0
"""Intensity preprocessing: truncate to a window, then subtract an offset and divide by a scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robust3d.foundation.errors import InputError


@dataclass(frozen=True)
class Intensity:
    """T(x) = clip(x, low, high), then N(x) = (T(x) - offset) / scale.

    Parameters
    ----------
    low, high : float
        Truncation window in the unit of the volume; infinite for none.
    offset, scale : float or None
        Fixed values, or ``None`` for the mean and standard deviation of each truncated volume (z-score).
    fill : float or None
        Normalised value that a volume smaller than the window is padded with; ``None`` for that of :attr:`padding`.
    """

    low: float = -math.inf
    high: float = math.inf
    offset: float | None = None
    scale: float | None = None
    fill: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"intensity window [{self.low}, {self.high}] is empty; its low must be below its high")
        if (self.offset is None) != (self.scale is None):
            raise InputError("give both the offset and the scale of an intensity scheme, or neither (z-score per case)")
        if self.scale is not None and not self.scale > 0:
            raise InputError(f"the scale of an intensity scheme must be positive, not {self.scale}")

    @property
    def limits(self) -> tuple[tuple[float, float], ...]:
        """Truncation window of the only channel."""
        return ((self.low, self.high),)

    def filled(self, value: float | None) -> Intensity:
        """Return this scheme with another value of padding."""
        return replace(self, fill=value)

    @property
    def per_case(self) -> bool:
        """Whether offset and scale are the statistics of each volume."""
        return self.offset is None

    def truncate(self, image: Tensor) -> Tensor:
        """Return T(x); same shape and unit as ``image``."""
        return image if math.isinf(self.low) and math.isinf(self.high) else image.clamp(self.low, self.high)

    def frozen_at(self, image: Tensor) -> Intensity:
        """Return this scheme with the statistics of ``image`` as fixed offset and scale.

        Raises
        ------
        InputError
            If the truncated volume is constant, so that a z-score is undefined.
        """
        if not self.per_case:
            return self
        # float64: a mean over 10^8 voxels in float32 loses digits, and differently on each device.
        truncated = self.truncate(image).double()
        scale = float(truncated.std(correction=0))
        if not scale > 0:
            raise InputError(
                f"all voxels are {float(truncated.flatten()[0]):g} within the intensity window "
                f"[{self.low:g}, {self.high:g}], so the volume cannot be normalised; check its unit"
            )
        return replace(self, offset=float(truncated.mean()), scale=scale)

    def normalise(self, image: Tensor) -> Tensor:
        """Return N(T(x)); a per-case scheme uses the statistics of ``image`` as constants."""
        fixed = self.frozen_at(image)
        return (self.truncate(image) - _known(fixed.offset)).div_(_known(fixed.scale))

    def normalised_padding(self, image: Tensor) -> float:
        """Return what a normalised volume smaller than the window is padded with; ``padding`` in the raw volume."""
        if self.fill is not None:
            return self.fill
        fixed = self.frozen_at(image)
        low = float(image.min()) if self.padding is None else self.padding
        return float(fixed.normalise(torch.tensor(low, dtype=image.dtype)))

    def backward(
        self, image: Tensor, gradient: Tensor, *, through: bool = False, padding: Sequence[float] = (0.0,)
    ) -> Tensor:
        """Turn a gradient with respect to the normalised volume into one per unit of the raw volume.

        Parameters
        ----------
        image : Tensor
            Raw volume at which ``normalise`` was evaluated.
        gradient : Tensor
            Gradient with respect to ``normalise(image)``, same shape; used up: its memory may become the result's.
        through : bool
            Differentiate the per-case statistics too, and the minimum where it is what a volume is padded with,
            instead of holding them constant.
        padding : sequence of one float
            Sum of the gradient with respect to the normalised voxels of the padding, which ``through`` needs: they
            hold :meth:`normalised_padding`, which depends on the statistics.

        Returns
        -------
        Tensor
            Zero where truncation is active; its boundary values count as inside, as in ``torch.clamp``.
        """
        fixed = self.frozen_at(image)
        outer = 0.0 if self.fill is not None else padding[0]
        if through and self.per_case:
            normalised = fixed.normalise(image)
            by_mean = gradient.mean() + outer / image.numel()
            by_scale = (gradient * normalised).mean() + outer * self.normalised_padding(image) / image.numel()
            gradient = gradient - by_mean - normalised * by_scale
        if through and outer and self.padding is None:
            lowest = image == image.min()
            gradient = torch.where(lowest, gradient + outer / int(lowest.sum()), gradient)
        outside = ~((image >= self.low) & (image <= self.high))
        return gradient.div_(_known(fixed.scale)).masked_fill_(outside, 0.0)

    @property
    def padding(self) -> float | None:
        """Value that a volume smaller than the window is padded with: the lower bound, else its own minimum."""
        return None if math.isinf(self.low) else self.low

    def settings(self) -> dict[str, float | str | None]:
        """Return JSON-ready settings for hashes and result rows."""
        settings: dict[str, float | str | None] = {
            "low": None if math.isinf(self.low) else self.low,
            "high": None if math.isinf(self.high) else self.high,
            "offset": self.offset,
            "scale": self.scale,
        }
        return settings if self.fill is None else settings | {"fill": self.fill}


def hu_window(low: float, high: float) -> Intensity:
    """Truncate to ``[low, high]`` HU, then zero mean and unit variance per case (the seed: -100, 240)."""
    return Intensity(low, high)


def unit_window(low: float, high: float) -> Intensity:
    """Truncate to ``[low, high]`` and map it to [0, 1]."""
    return Intensity(low, high, offset=low, scale=high - low)


def dataset_zscore(low: float, high: float, mean: float, std: float) -> Intensity:
    """nnU-Net's CT scheme: clip to dataset percentiles, subtract the dataset's mean, divide by its std."""
    return Intensity(low, high, offset=mean, scale=std)


def zscore() -> Intensity:
    """Zero mean and unit variance per case without truncation (MR)."""
    return Intensity()


def _known(value: float | None) -> float:
    if value is None:
        raise InputError("the statistics of a per-case intensity scheme are not known before it has seen a volume")
    return value
