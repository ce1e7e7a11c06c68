# SPDX-License-Identifier: Apache-2.0
"""Resampling between the grid of a volume and that of a model, as nnU-Net does it, with its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, zoom
from torch import Tensor

from robust3d.segment.grid import Shape
from robust3d.volume.volume import Triple

Order = Literal[0, 1, 2, 3, 4, 5]
"""Of a spline."""

_OVERSHOOT = 1e-6
"""Of the range: what a spline leaves it by in rounding alone, where clipping would only cost the gradient."""


@dataclass(frozen=True)
class Resampling:
    """How values are interpolated; the defaults are nnU-Net's for images.

    Parameters
    ----------
    order : int
        Of the spline, 0 to 5; its result is clipped to the range of what it interpolates.
    order_z : int
        Of the spline along the axis of low resolution, where that axis goes separately.
    separate_z : bool or None
        Whether an axis goes separately; ``None``: where its spacing is more than ``anisotropy`` times another's, in the
        volume, or else in the model.
    anisotropy : float
        That ratio.
    """

    order: Order = 3
    order_z: Order = 0
    separate_z: bool | None = None
    anisotropy: float = 3.0

    def separate_axis(self, current: Triple, new: Triple) -> int | None:
        """Return the axis that goes separately between two spacings in mm; ``None`` if all go together."""
        if self.separate_z is False:
            return None
        coarse = [one for one in (current, new) if max(one) / min(one) > self.anisotropy]
        spacing = current if self.separate_z else next(iter(coarse), None)
        if spacing is None:
            return None
        lowest = [axis for axis, edge in enumerate(spacing) if edge == max(spacing)]
        return lowest[0] if len(lowest) == 1 else None

    def __call__(self, volume: Tensor, shape: Shape, current: Triple, new: Triple) -> Tensor:
        """Return a volume on another grid of the same extent.

        Parameters
        ----------
        volume : Tensor, shape (..., D1, D2, D3)
            Values on the grid of spacing ``current``.
        shape : (int, int, int)
            Voxels wanted.
        current, new : three floats
            Spacing of both grids in mm, which decide about the separate axis alone.

        Returns
        -------
        Tensor, shape (..., *shape)
            Differentiable, and linear but for the clipping, whose bounds count as constants.
        """
        old = (volume.shape[-3], volume.shape[-2], volume.shape[-1])
        if old == shape:
            return volume
        apart = self.separate_axis(current, new)
        together = [axis for axis in range(3) if axis != apart]
        result = volume
        for axis in together:
            result = _along(result, axis, old[axis], shape[axis], self.order, spread=True)
        if self.order > 1:
            result = _clipped(result, volume, [axis - 3 for axis in together])
        if apart is not None:
            result = _along(result, apart, old[apart], shape[apart], self.order_z, spread=False)
        return result


def resampled_shape(shape: Shape, current: Triple, new: Triple) -> Shape:
    """Return the voxels of a volume of ``shape`` and spacing ``current`` at the spacing ``new`` (mm)."""
    first, second, third = (
        max(1, round(edge / wanted * length)) for length, edge, wanted in zip(shape, current, new, strict=True)
    )
    return first, second, third


def nearest_labels(label: Tensor, shape: Shape) -> Tensor:
    """Return the label ``(D1, D2, D3)`` of the nearest voxel on another grid of the same extent."""
    for axis, (old, new) in enumerate(zip(label.shape, shape, strict=True)):
        places = ((torch.arange(new, dtype=torch.float64) + 0.5) * (old / new)).long().clamp_(0, old - 1)
        label = label.index_select(axis, places.to(label.device))
    return label


def _along(volume: Tensor, axis: int, old: int, new: int, order: Order, *, spread: bool) -> Tensor:
    if old == new:
        return volume
    matrix = torch.from_numpy(_matrix(old, new, order, spread)).to(volume)
    result: Tensor = torch.tensordot(matrix, volume, dims=([1], [axis - 3 + volume.ndim]))
    return result.movedim(0, axis - 3)


def _clipped(result: Tensor, volume: Tensor, axes: list[int]) -> Tensor:
    low, high = volume.detach().amin(axes, keepdim=True), volume.detach().amax(axes, keepdim=True)
    margin = _OVERSHOOT * (high - low)
    return torch.where(result < low - margin, low, torch.where(result > high + margin, high, result))


@lru_cache(maxsize=32)
def _matrix(old: int, new: int, order: Order, spread: bool) -> NDArray[np.float64]:
    """Return the weights ``(new, old)`` of interpolation along an axis, from scipy, which nnU-Net calls in the end.

    ``spread``: the zoom of whole volumes; else the separate axis, whose coordinates are computed one by one.
    """
    places = (np.arange(new) + 0.5) * (old / new) - 0.5
    columns = [
        zoom(unit, new / old, order=order, mode="nearest", grid_mode=True)
        if spread
        else map_coordinates(unit, places[None], order=order, mode="nearest")
        for unit in np.eye(old)
    ]
    return np.stack(columns, axis=1)
