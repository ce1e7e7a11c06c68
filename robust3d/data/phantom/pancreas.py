# SPDX-License-Identifier: Apache-2.0
"""The pancreas: a tapered, curved, lobulated gland from the duodenal loop to the hilum of the spleen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robust3d.data.phantom.canvas import Box, Canvas
from robust3d.data.phantom.curves import smooth_curve
from robust3d.data.phantom.fields import FloatArray, draw_lattice, evaluate_field

# Uncinate process, head, upper head, neck, body, body, tail: place and radius in mm.
_CONTROL = np.array(
    [(20, -14, -36), (36, -6, -22), (33, 2, -4), (10, 8, 4), (-18, 7, 10), (-48, -9, 18), (-76, -28, 26)],
    dtype=np.float64,
)
_RADII = np.array([9.0, 15.0, 13.5, 10.0, 11.0, 11.5, 9.0])
_SQUASH = 1.1
_NECK = 3


@dataclass(frozen=True)
class Gland:
    """Centreline of a pancreas: centres ``(n, 3)`` and radii ``(n,)`` in mm, landmarks, and nominal HU."""

    curve: FloatArray
    radii: FloatArray
    head: FloatArray
    neck: int
    level: float


def draw_gland(generator: np.random.Generator) -> Gland:
    """Draw the course, the calibre and the HU of a pancreas of about 60 to 100 ml."""
    control = _CONTROL + generator.normal(0.0, (3.0, 3.0, 4.0)) + generator.normal(0.0, 3.5, _CONTROL.shape)
    # Lies of the gland: the tail goes up, straight or down; the body arches more or less over the spine.
    lift, arch = generator.normal(0.0, 8.0), generator.normal(0.0, 4.0)
    control[4:, 2] += lift * np.array([0.25, 0.7, 1.1])
    control[3:6, 1] += arch * np.array([0.6, 1.0, 0.5])
    curve, radii = smooth_curve(control, _RADII * generator.uniform(0.9, 1.1, len(_RADII)), step=2.5)
    steps = np.sqrt(np.sum(np.diff(curve, axis=0) ** 2, axis=1))
    middle = 0.5 * (radii[1:] + radii[:-1])
    caps = 2 * np.pi / 3 * (radii[0] ** 3 + radii[-1] ** 3)
    volume = float((np.sum(np.pi * middle**2 * steps) + caps) / _SQUASH) / 1000
    target = generator.uniform(64, 96)
    radii = radii * np.sqrt(target / volume)
    neck = int(np.argmin(np.sum((curve - control[_NECK]) ** 2, axis=1)))
    return Gland(curve, radii, control[1], neck, generator.uniform(78, 108))


@dataclass(frozen=True)
class GlandShape:
    """A gland on a canvas: its box, and there the signed distance in mm and three fields of texture."""

    box: Box
    distance: FloatArray
    lobules: FloatArray
    grain: FloatArray
    halo: FloatArray


def place_gland(canvas: Canvas, gland: Gland, generator: np.random.Generator) -> GlandShape:
    """Measure the lobulated gland on a canvas."""
    box, distance = canvas.tube(gland.curve, gland.radii, margin=18.0, squash=_SQUASH)
    axes = canvas.box_axes(box)
    lobules, halo, grain = (
        evaluate_field(draw_lattice(generator, nodes), pitch, axes)
        for pitch, nodes in ((7.5, 24), (16.0, 24), (3.5, 40))
    )
    return GlandShape(box, distance + 1.5 * np.clip(lobules, -2.0, 2.0), lobules, grain, halo)


def paint_bed(canvas: Canvas, gland: Gland, shape: GlandShape, generator: np.random.Generator) -> None:
    """Paint the retroperitoneal tissue of a lean patient around the gland, 30 to 45 HU below it; organs come after.

    Without it most of the gland's surface would border on fat, 200 HU away, and nothing there would be ambiguous.
    """
    contrast = generator.uniform(30.0, 45.0)
    thickness = np.clip(9.0 + 4.0 * shape.halo, 3.0, 15.0)
    canvas.paint(shape.box, shape.distance - thickness, gland.level - contrast + 4.0 * shape.grain)


def paint_gland(canvas: Canvas, gland: Gland, shape: GlandShape, generator: np.random.Generator) -> None:
    """Paint the gland, with fat between the lobules of its border."""
    infiltration = generator.uniform(0.3, 1.0)
    rim = np.clip(1 + (shape.distance + 1.0) / 6.0, 0.0, 1.0)
    clefts = np.clip(shape.lobules + 0.5 * shape.grain - 0.4, 0.0, 1.5) * rim
    canvas.paint(shape.box, shape.distance, gland.level + 5.0 * shape.grain - 12.0 * infiltration * clefts)


def paint_cyst(canvas: Canvas, gland: Gland, generator: np.random.Generator) -> tuple[Box, FloatArray]:
    """Paint a cyst of 0 to 25 HU that bulges from the gland; return its box and signed distance in mm."""
    index = int(generator.integers(len(gland.curve) // 5, 9 * len(gland.curve) // 10))
    radius = generator.uniform(8.0, 15.0)
    direction = np.array([0.0, generator.uniform(0.3, 1.0), generator.uniform(-1.0, 1.0)])
    direction = direction / np.sqrt(np.sum(direction**2))
    centre = gland.curve[index] + direction * gland.radii[index] * generator.uniform(0.6, 0.9)
    box, distance = canvas.ellipsoid(centre, radius * generator.uniform(0.85, 1.15, 3), margin=3.0)
    canvas.paint(box, distance - 1.2, gland.level)
    canvas.paint(box, distance, generator.uniform(2.0, 23.0))
    return box, distance
