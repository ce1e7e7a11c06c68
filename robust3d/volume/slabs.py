# SPDX-License-Identifier: Apache-2.0
"""Work on a volume slab by slab, so that intermediate results need no volume of their own."""

from __future__ import annotations

from collections.abc import Iterator
from types import EllipsisType

from torch import Tensor

SLAB = 32
"""Thickness of a slab in voxels along the first axis."""


def slabs(length: int) -> Iterator[slice]:
    """Yield the slabs of an axis of ``length`` voxels."""
    for low in range(0, length, SLAB):
        yield slice(low, min(low + SLAB, length))


def parts(volume: Tensor) -> Iterator[tuple[EllipsisType | slice, ...]]:
    """Yield the places of the slabs of a volume, all channels of each; of fewer than three axes, along the first."""
    axis = -3 if volume.ndim >= 3 else -volume.ndim
    for rows in slabs(volume.shape[axis]):
        yield (..., rows, *[slice(None)] * (-1 - axis))
