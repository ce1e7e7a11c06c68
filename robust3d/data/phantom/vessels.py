# SPDX-License-Identifier: Apache-2.0
"""The great vessels: aorta, inferior vena cava, portal, mesenteric and renal vessels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robust3d.data.phantom.canvas import Canvas, Shape
from robust3d.data.phantom.curves import smooth_curve
from robust3d.data.phantom.fields import FloatArray
from robust3d.data.phantom.patient import Patient

Point = tuple[float, float, float]


def _paint_vessel(canvas: Canvas, points: Sequence[Point], radii: Sequence[float], level: float) -> None:
    curve, widths = smooth_curve(points, radii)
    box, distance = canvas.tube(curve, widths)
    canvas.paint(box, distance, level)


def paint_vessels(
    canvas: Canvas, patient: Patient, confluence: Sequence[float], generator: np.random.Generator
) -> float:
    """Paint the vessels and return the venous HU; `confluence` is where the portal vein begins, in mm."""
    artery, vein = generator.uniform(135, 165), generator.uniform(140, 178)
    sway = generator.normal(0.0, 2.0, 4)
    front = patient.back + 27
    aorta_x, cava_x = -9 + sway[0], 20 + sway[1]
    big, wide = generator.uniform(8.5, 11.5), generator.uniform(9.5, 12.5)
    _paint_vessel(
        canvas,
        [(aorta_x, front - 6, 220), (aorta_x, front, 60), (aorta_x, front + 1, -100), (-25, front + 6, -180)],
        (big + 2, big + 1, big - 1, 7),
        artery,
    )
    _paint_vessel(
        canvas,
        [(cava_x + 4, front + 20, 130), (cava_x, front + 4, 50), (cava_x, front, -100), (28, front, -180)],
        (wide + 2, wide, wide, 9),
        vein - generator.uniform(0, 35),
    )
    x, y, z = (float(value) for value in confluence)
    _paint_vessel(
        canvas,
        [
            (x, y + 6 + sway[2], z - 110),
            (x + 1, y + 3, z - 50),
            (x, y, z),
            (x + 22, y - 2, z + 22),
            (x + 44, y + 8, z + 42),
        ],
        (5.0, 5.5, 6.5, 6.5, 5.5),
        vein,
    )
    _paint_vessel(
        canvas,
        [
            (aorta_x, front + 6, z + 8),
            (aorta_x + 2, front + 16, z - 2),
            (x - 17, y - 1, z - 40),
            (x - 16, y + 8 + sway[3], z - 110),
        ],
        (4.0, 4.0, 3.8, 3.5),
        artery,
    )
    _paint_vessel(
        canvas,
        [(aorta_x, front + 6, z + 22), (aorta_x, front + 22, z + 26), (x + 26, y + 10, z + 24)],
        (4.0, 3.5, 3.0),
        artery,
    )
    for side, start, height in ((-1.0, cava_x, -18.0), (1.0, cava_x, -32.0)):
        bend = front + 12 if side < 0 else front
        _paint_vessel(
            canvas,
            [(start, front, height), (side * 8 - 6, bend, height), (side * 42, front - 12, height)],
            (4.5, 4.5, 4.0),
            vein,
        )
    return float(vein)


def paint_splenic_vein(
    canvas: Canvas,
    curve: FloatArray,
    radii: FloatArray,
    surface: FloatArray,
    level: float,
    generator: np.random.Generator,
) -> Shape:
    """Paint the vein along the back of the pancreas and return its distance in mm.

    `curve` and `radii` are the gland's, from neck to tail, in mm; `surface` is the signed distance to the
    gland on the whole canvas.
    """
    offset = generator.uniform(0.85, 1.05)
    points = curve + np.stack([np.zeros_like(radii), -offset * radii - 1.0, 0.15 * radii], axis=1)
    box, distance = canvas.tube(points, np.linspace(5.2, 4.0, len(points)))
    # The vein may groove the gland but not cut it.
    distance = np.maximum(distance, -2.5 - surface[box])
    canvas.paint(box, distance, level)
    return box, distance
