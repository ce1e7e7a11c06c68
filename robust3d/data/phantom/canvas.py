# SPDX-License-Identifier: Apache-2.0
"""The canvas: a voxel grid in patient millimetres, signed distances of shapes on it, and soft painting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from robust3d.data.phantom.deformation import LIMIT_MM
from robust3d.data.phantom.fields import FloatArray

Box = tuple[slice, slice, slice]
Shape = tuple[Box, FloatArray]

_FAR_MM = 40.0


class Canvas:
    """An image under construction, in HU, with the deformed coordinates of its voxels.

    Parameters
    ----------
    axes
        Three vectors of voxel-centre coordinates in mm (right, anterior, superior).
    spacing
        Voxel size in mm.
    shift
        Displacement of shape ``(3, D1, D2, D3)`` in mm; voxel x shows the anatomy at x + shift.
    """

    def __init__(self, axes: Sequence[FloatArray], spacing: Sequence[float], shift: FloatArray) -> None:
        self.axes = tuple(axes)
        self.spacing = tuple(spacing)
        # Partial volume: an edge is a ramp as wide as a voxel.
        self.edge = max(1.0, float(spacing[0] * spacing[1] * spacing[2]) ** (1 / 3))
        self.points = np.stack(np.meshgrid(*axes, indexing="ij")) + shift
        self.image = np.full(self.points.shape[1:], -1000.0)

    def box(self, low: FloatArray, high: FloatArray, margin: float = 0.0) -> Box:
        """Give the voxels that may show anatomy between two corners in mm; empty where out of view."""
        slack = margin + LIMIT_MM + self.edge
        start = [np.searchsorted(axis, lo - slack) for axis, lo in zip(self.axes, low, strict=True)]
        stop = [np.searchsorted(axis, hi + slack) for axis, hi in zip(self.axes, high, strict=True)]
        i, j, k = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        return i, j, k

    def box_axes(self, box: Box) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Give the undeformed coordinates in mm of a box's voxels along each axis."""
        return self.axes[0][box[0]], self.axes[1][box[1]], self.axes[2][box[2]]

    def at(self, box: Box) -> FloatArray:
        """Give the deformed coordinates in mm of a box's voxels, shape ``(3, d1, d2, d3)``."""
        return self.points[(slice(None), *box)]

    def ellipsoid(self, centre: ArrayLike, radii: ArrayLike, turn: float = 0.0, margin: float = 0.0) -> Shape:
        """Measure the signed distance in mm to an ellipsoid turned by `turn` radians about the long axis."""
        middle, half = np.asarray(centre, dtype=np.float64), np.asarray(radii, dtype=np.float64)
        # Turned ellipsoids stay inside the square of their larger in-plane radius.
        reach = half if turn == 0.0 else np.array([max(half[:2]), max(half[:2]), half[2]])
        box = self.box(middle - reach, middle + reach, margin)
        return box, self.ellipsoid_in(box, middle, half, turn)

    def ellipsoid_in(self, box: Box, centre: ArrayLike, radii: ArrayLike, turn: float = 0.0) -> FloatArray:
        """Measure, within a box, the signed distance in mm to a turned ellipsoid."""
        middle, half = np.asarray(centre, dtype=np.float64), np.asarray(radii, dtype=np.float64)
        x, y, z = (p - c for p, c in zip(self.at(box), middle, strict=True))
        if turn != 0.0:
            cosine, sine = np.cos(turn), np.sin(turn)
            x, y = cosine * x + sine * y, cosine * y - sine * x
        x, y, z = x / half[0], y / half[1], z / half[2]
        norm = np.sqrt(x * x + y * y + z * z)
        slope = np.sqrt((x / half[0]) ** 2 + (y / half[1]) ** 2 + (z / half[2]) ** 2)
        return np.asarray(norm * (norm - 1.0) / np.maximum(slope, 1e-9), dtype=np.float64)

    def tube(self, curve: FloatArray, radii: FloatArray, margin: float = 0.0, squash: float = 1.0) -> Shape:
        """Measure the signed distance in mm to a chain of balls.

        Parameters
        ----------
        curve
            Centres in mm, shape ``(n, 3)``, closer together than the radii.
        radii
            Radii in mm, shape ``(n,)``.
        margin
            How far outside the surface the distance must hold, in mm; beyond, it may be any larger value.
        squash
            Factor on antero-posterior distances; above 1 flattens the section.
        """
        widest = float(radii.max())
        outer = self.box(curve.min(axis=0), curve.max(axis=0), widest + margin)
        distance = np.full(self.image[outer].shape, _FAR_MM)
        for centre, radius in zip(curve, radii, strict=True):
            box = self.box(centre, centre, radius + margin)
            local = tuple(slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, outer, strict=True))
            x, y, z = (p - c for p, c in zip(self.at(box), centre, strict=True))
            y = squash * y
            part = distance[local]
            np.minimum(part, np.sqrt(x * x + y * y + z * z) - radius, out=part)
        return outer, distance

    def paint(self, box: Box, distance: FloatArray, value: float | FloatArray) -> None:
        """Blend `value` (HU) into the box where `distance` (mm) is negative, with a one-voxel soft edge."""
        alpha = np.clip(0.5 - distance / self.edge, 0.0, 1.0)
        view = self.image[box]
        view += alpha * (value - view)
