# SPDX-License-Identifier: Apache-2.0
"""The windows of one volume: padded extent, corners, batches gathered from and added to volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import pad

from robust3d.foundation.errors import InputError
from robust3d.segment.grid import Corner, Grid, Shape, overlap
from robust3d.volume.labels import IGNORE
from robust3d.volume.slabs import slabs

Weighting = Literal["constant", "gaussian", "nnunet"]


@dataclass(frozen=True)
class WindowPlan:
    """Windows of a volume of one shape.

    Parameters
    ----------
    shape : (int, int, int)
        Shape of the volume.
    window : (int, int, int)
        Shape of a window.
    corners : sequence of (int, int, int)
        Lowest corner of each window in the padded volume.
    """

    shape: Shape
    window: Shape
    corners: Sequence[Corner]

    @classmethod
    def of(cls, shape: Shape, window: Shape, grid: Grid) -> WindowPlan:
        """Place the windows of ``grid`` over a volume, padded where it is smaller than the window."""
        padded = tuple(max(length, size) for length, size in zip(shape, window, strict=True))
        return cls(shape, window, grid.corners((padded[0], padded[1], padded[2]), window))

    @property
    def padded_shape(self) -> Shape:
        """Shape after padding axes shorter than the window."""
        first, second, third = (max(length, size) for length, size in zip(self.shape, self.window, strict=True))
        return first, second, third

    @property
    def is_padded(self) -> bool:
        """Whether an axis is shorter than the window."""
        return self.padded_shape != self.shape

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """Where the volume lies in the padded one (centred)."""
        lows = [(padded - length) // 2 for padded, length in zip(self.padded_shape, self.shape, strict=True)]
        first, second, third = (slice(low, low + length) for low, length in zip(lows, self.shape, strict=True))
        return first, second, third

    def padded(self, volume: Tensor, value: float | Sequence[float]) -> Tensor:
        """Return ``volume`` padded to :attr:`padded_shape` with ``value``, or one value a channel."""
        if not self.is_padded:
            return volume
        if isinstance(value, Sequence):
            return torch.stack([self.padded(one, own) for one, own in zip(volume, value, strict=True)])
        pads: list[int] = []
        for place, length, whole in reversed(list(zip(self.inner, self.shape, self.padded_shape, strict=True))):
            pads += [place.start, whole - place.start - length]
        return pad(volume, pads, value=value)

    def only(self, keep: Tensor) -> WindowPlan:
        """Return the plan of those windows that hold a true voxel of ``keep`` (padded shape)."""
        kept = [corner for corner in self.corners if bool(keep[self.place(corner)].any())]
        return WindowPlan(self.shape, self.window, kept)

    def place(self, corner: Corner) -> tuple[slice, slice, slice]:
        """Return the voxels of one window."""
        first, second, third = (slice(start, start + size) for start, size in zip(corner, self.window, strict=True))
        return first, second, third

    def attacked(self, windows: str, label: Tensor) -> WindowPlan:
        """Return the windows that an option of :meth:`Pipeline.loss_gradient` means; ``label`` in padded shape."""
        if windows == "skip_background":
            return self.only((label > 0) & (label != IGNORE))
        return WindowPlan.of(self.shape, self.window, overlap(0.0)) if windows == "tiling" else self

    def gather(self, volume: Tensor, corners: Sequence[Corner]) -> Tensor:
        """Return windows ``(B, ..., d, h, w)`` of a padded volume ``(..., D1, D2, D3)``."""
        return torch.stack([volume[(..., *self.place(corner))] for corner in corners])

    def add(self, volume: Tensor, corners: Sequence[Corner], windows: Tensor) -> None:
        """Add windows ``(B, ..., d, h, w)`` in place into a padded volume ``(..., D1, D2, D3)``, wherever it lives."""
        for corner, window in zip(corners, windows.to(volume.device), strict=True):
            volume[(..., *self.place(corner))] += window

    def add_logarithms(self, volume: Tensor, corners: Sequence[Corner], windows: Tensor) -> None:
        """Add as :meth:`add` does, where volume and windows hold the logarithms of what is added."""
        for corner, window in zip(corners, windows.to(volume.device), strict=True):
            place = (..., *self.place(corner))
            volume[place] = torch.logaddexp(volume[place], window)

    def coverage(self, weights: Tensor) -> Tensor:
        """Return the sum over windows of ``weights`` (window shape) at every voxel of the padded volume."""
        return self._coverage(weights, slice(0, self.padded_shape[0]))

    def covered_slabs(self, weights: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield :meth:`coverage` slab by slab along the first axis, with the place of each."""
        for rows in slabs(self.padded_shape[0]):
            yield rows, self._coverage(weights, rows)

    def _coverage(self, weights: Tensor, rows: slice) -> Tensor:
        _, second, third = self.padded_shape
        total = weights.new_zeros((rows.stop - rows.start, second, third))
        for corner in self.corners:
            first, *others = self.place(corner)
            low, high = max(first.start, rows.start), min(first.stop, rows.stop)
            if low < high:
                part = (slice(low - rows.start, high - rows.start), *others)
                total[part] += weights[low - first.start : high - first.start]
        return total


def check_window(window: int | Sequence[int]) -> Shape:
    """Return a window given as one edge or three.

    Raises
    ------
    InputError
        If it is not one or three positive whole numbers.
    """
    edges = [window] * 3 if isinstance(window, int) else list(window)
    if len(edges) != 3 or any(not isinstance(edge, int) or edge < 1 for edge in edges):
        raise InputError(f"a window is one or three positive whole numbers of voxels, not {window!r}")
    return edges[0], edges[1], edges[2]


@lru_cache(maxsize=8)
def window_weights(window: Shape, weighting: Weighting) -> Tensor:
    """Return the fusion weight of each voxel of a window, float32.

    ``constant`` is 1; ``gaussian`` is MONAI's importance map: sigma of 0.125 of the window, centred at
    (w - 1) / 2, never below 1e-3. ``nnunet`` is nnU-Net's: a filtered point at w // 2 with the same sigma, 10 at its
    largest, in half precision, its zeros replaced by the least of the others.
    """
    if weighting == "nnunet":
        point = np.zeros(window)
        point[tuple(length // 2 for length in window)] = 1
        importance = gaussian_filter(point, [length / 8 for length in window], mode="constant")
        halves = (importance / (importance.max() / 10)).astype(np.float16)
        halves[halves == 0] = halves[halves > 0].min()
        return torch.from_numpy(halves.astype(np.float32))
    weights = torch.ones(window)
    if weighting == "gaussian":
        for axis, length in enumerate(window):
            position = torch.arange(length, dtype=torch.float32) - (length - 1) / 2
            profile = torch.exp(position.square() / (-2 * (0.125 * length) ** 2))
            weights = weights * profile.view([-1 if other == axis else 1 for other in range(3)])
        weights = weights.clamp_min(1e-3)
    return weights
