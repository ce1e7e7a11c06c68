# SPDX-License-Identifier: Apache-2.0
"""The grid that a model works on, and how a volume gets there and a prediction back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from nibabel.orientations import io_orientation
from scipy.ndimage import binary_fill_holes
from torch import Tensor

from robust3d.foundation.errors import InputError
from robust3d.segment.channel_intensity import Scheme
from robust3d.segment.grid import Shape
from robust3d.segment.prediction import Box
from robust3d.segment.resample import Resampling, resampled_shape
from robust3d.volume.channels import crop, spatial_shape
from robust3d.volume.volume import Triple, Volume


@dataclass(frozen=True)
class ModelGrid:
    """What a model does with a volume before its windows: turn, crop, normalise and resample it, in this order.

    Parameters
    ----------
    spacing : (float, float, float)
        Voxel size in mm along the model's axes.
    axes : (int, int, int)
        Axis of the volume that each of the model's axes is.
    intensity : Intensity or ChannelIntensity
        Applied on the volume's own grid.
    canonical : bool
        Whether ``axes`` are those of the volume turned to RAS+, instead of those of the file.
    crop : bool
        Whether the model sees the bounding box of the voxels that are not 0 in some channel.
    masked : bool
        Whether ``intensity`` changes these voxels alone (with holes between them filled), and takes their statistics.
    image, logits : Resampling
        How the volume and the model's logits are interpolated.
    """

    spacing: Triple
    axes: tuple[int, int, int]
    intensity: Scheme
    canonical: bool = False
    crop: bool = True
    masked: bool = False
    image: Resampling = field(default_factory=Resampling)
    logits: Resampling = field(default_factory=lambda: Resampling(order=1))

    def place(self, volume: Volume) -> Placement:
        """Return how a volume lies on this grid."""
        axes, mirrored = self.axes, (False, False, False)
        if self.canonical:
            orientation = io_orientation(volume.affine)
            found = {int(axis): (own, flip < 0) for own, (axis, flip) in enumerate(orientation)}
            (first, one), (second, two), (third, three) = (found[axis] for axis in self.axes)
            axes, mirrored = (first, second, third), (one, two, three)
        spacing = volume.spacing[axes[0]], volume.spacing[axes[1]], volume.spacing[axes[2]]
        return Placement(axes, mirrored, spacing)

    def region(self, turned: Tensor) -> Region:
        """Return which part of a turned volume the model sees, and with which statistics.

        Raises
        ------
        InputError
            If the volume holds nothing but 0, or is constant.
        """
        box = _box_of_content(turned) if self.crop else (slice(None), slice(None), slice(None))
        seen = crop(turned, box)
        content = (seen != 0) if seen.ndim == 3 else (seen != 0).any(dim=0)
        # Filling holes leaves the box as it is, and takes long.
        mask = torch.from_numpy(binary_fill_holes(content.cpu().numpy())).to(seen.device) if self.masked else None
        return Region(box, mask, self.intensity.frozen_at(seen if mask is None else seen[..., mask]))

    def shape(self, placement: Placement, seen: Tensor) -> Shape:
        """Return the model's voxels of a part of a turned volume."""
        return resampled_shape(spatial_shape(seen), placement.spacing, self.spacing)

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready settings for hashes and result rows."""
        return {
            "spacing": list(self.spacing),
            "axes": list(self.axes),
            "canonical": self.canonical,
            "crop": self.crop,
            "masked": self.masked,
            "intensity": self.intensity.settings(),
            "image": asdict(self.image),
            "logits": asdict(self.logits),
        }


@dataclass(frozen=True)
class Placement:
    """How a volume lies on a model's grid.

    Parameters
    ----------
    axes : (int, int, int)
        Axis of the volume that each of the model's axes is.
    mirrored : (bool, bool, bool)
        Which of the model's axes run the other way.
    spacing : (float, float, float)
        Spacing of the volume in mm, along the model's axes.
    """

    axes: tuple[int, int, int]
    mirrored: tuple[bool, bool, bool]
    spacing: Triple

    @property
    def _flips(self) -> list[int]:
        return [axis - 3 for axis, flip in enumerate(self.mirrored) if flip]

    def turn(self, volume: Tensor) -> Tensor:
        """Return a volume with the model's axes; channels stay first."""
        return volume.permute(self._order(volume, self.axes)).flip(self._flips)

    def back(self, volume: Tensor) -> Tensor:
        """Return a volume with the model's axes as it lay before :meth:`turn`."""
        return volume.flip(self._flips).permute(self._order(volume, np.argsort(self.axes).tolist())).contiguous()

    @staticmethod
    def _order(volume: Tensor, axes: Sequence[int]) -> list[int]:
        before = volume.ndim - 3
        return [*range(before), *(axis + before for axis in axes)]


@dataclass(frozen=True, eq=False)
class Region:
    """The part of a turned volume that a model sees.

    Parameters
    ----------
    box : three slices
        In the turned volume.
    mask : Tensor of bool, shape of the box, or None
        Voxels that are normalised; all by default.
    intensity : Intensity or ChannelIntensity
        With the statistics of these voxels.
    """

    box: Box
    mask: Tensor | None
    intensity: Scheme

    def normalise(self, seen: Tensor) -> Tensor:
        """Return the normalised voxels of the box; those outside the mask as they are."""
        normalised = self.intensity.normalise(seen)
        return normalised if self.mask is None else torch.where(self.mask, normalised, seen)

    def backward(self, scheme: Scheme, seen: Tensor, gradient: Tensor, *, through: bool) -> Tensor:
        """Turn a gradient of :meth:`normalise` into one per unit of the volume; the mask itself has none.

        ``through`` differentiates the statistics of ``scheme`` too, where it has those of each volume.
        """
        intensity = scheme if through else self.intensity
        # Nothing is padded here: what the windows add is 0, whatever the statistics.
        intensity = intensity.filled(0.0)
        if self.mask is None:
            return intensity.backward(seen, gradient.clone(), through=through)
        result = gradient.clone()
        inner = intensity.backward(seen[..., self.mask], gradient[..., self.mask], through=through)
        result[..., self.mask] = inner
        return result


def _box_of_content(volume: Tensor) -> Box:
    content = volume != 0
    if content.ndim == 4:
        content = content.any(dim=0)
    edges = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        places = content.any(dim=others[1]).any(dim=others[0]).nonzero().flatten().tolist()
        if not places:
            raise InputError("all voxels of the volume are 0, so nothing of it is left to segment; check its file")
        edges.append(slice(places[0], places[-1] + 1))
    return edges[0], edges[1], edges[2]
