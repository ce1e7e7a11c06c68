# SPDX-License-Identifier: Apache-2.0
"""Work on a volume slab by slab, so that intermediate results need no volume of their own."""

from __future__ import annotations

from collections.abc import Iterator

SLAB = 32
"""Thickness of a slab in voxels along the first axis."""


def slabs(length: int) -> Iterator[slice]:
    """Yield the slabs of an axis of ``length`` voxels."""
    for low in range(0, length, SLAB):
        yield slice(low, min(low + SLAB, length))
