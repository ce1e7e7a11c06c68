# SPDX-License-Identifier: Apache-2.0
"""The hollow organs: stomach, duodenum, colon and loops of small bowel, with fluid, food and gas."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from robust3d.data.phantom.canvas import Canvas
from robust3d.data.phantom.curves import smooth_curve
from robust3d.data.phantom.fields import FloatArray, draw_lattice, evaluate_field
from robust3d.data.phantom.patient import Patient

_GAS = -950.0


def _paint_hollow(
    canvas: Canvas,
    points: ArrayLike,
    radii: ArrayLike,
    *,
    wall: tuple[float, float],
    content: float,
    mottle: float,
    gas: float,
    lattice: FloatArray,
    rim: float = 1.0,
) -> None:
    """Paint one hollow tube.

    `wall` is (mm, HU), `gas` the share of the radius above which gas collects, `rim` the mm of fat around it.
    """
    curve, widths = smooth_curve(points, radii, step=4.0)
    box, distance = canvas.tube(curve, widths, margin=3.0)
    grain = evaluate_field(lattice, 8.0, canvas.box_axes(box))
    distance = distance + 1.2 * grain
    canvas.paint(box, distance - rim, -100.0)
    canvas.paint(box, distance, wall[1])
    canvas.paint(box, distance + wall[0], content + mottle * grain)
    if gas < 1.0:
        # Gas rises to the front of a patient who lies on the back; its lower surface is flat.
        _, y, _ = canvas.at(box)
        level = curve[:, 1].max() + gas * widths[int(np.argmax(curve[:, 1]))]
        canvas.paint(box, np.maximum(distance + wall[0], level - y), _GAS)


def paint_stomach(canvas: Canvas, generator: np.random.Generator) -> FloatArray:
    """Paint the stomach and return the place of the pylorus in mm."""
    points = np.array(
        [(-52, -22, 84), (-64, 6, 62), (-58, 30, 38), (-34, 42, 20), (2, 42, 8), (30, 34, 2)],
        dtype=np.float64,
    )
    points = points + generator.normal(0.0, 3.0, 3) + generator.normal(0.0, 2.5, points.shape)
    radii = np.array([30, 33, 29, 23, 17, 11]) * generator.uniform(0.82, 1.08)
    _paint_hollow(
        canvas,
        points,
        radii,
        wall=(generator.uniform(3.5, 5.5), generator.uniform(75, 100)),
        content=generator.uniform(8, 65),
        mottle=generator.uniform(3, 15),
        gas=generator.uniform(0.1, 0.7),
        lattice=draw_lattice(generator),
    )
    return np.asarray(points[-1], dtype=np.float64)


def paint_duodenum(canvas: Canvas, head: FloatArray, pylorus: FloatArray, generator: np.random.Generator) -> None:
    """Paint the C-loop from the pylorus around the head of the pancreas; `head` is its centre in mm."""
    x, y, z = head
    loop = np.array(
        [
            (x + 18, y + 14, z + 20),
            (x + 28, y, z + 2),
            (x + 25, y - 8, z - 26),
            (x + 2, y - 14, z - 42),
            (x - 36, y - 12, z - 40),
            (x - 62, y - 2, z - 24),
            (x - 66, y + 22, z - 22),
        ]
    )
    loop = loop + generator.normal(0.0, 2.0, loop.shape)
    radius = generator.uniform(10.5, 13.5)
    _paint_hollow(
        canvas,
        np.concatenate([pylorus[None], loop]),
        radius * np.array([0.9, 1.1, 1.1, 1.05, 1.0, 0.9, 0.95, 0.95]),
        wall=(generator.uniform(2.0, 3.5), generator.uniform(80, 108)),
        content=generator.uniform(35, 95),
        mottle=generator.uniform(4, 14),
        gas=generator.uniform(0.3, 1.6),
        lattice=draw_lattice(generator),
        rim=0.0,
    )


def paint_colon(canvas: Canvas, patient: Patient, generator: np.random.Generator) -> None:
    """Paint ascending, transverse and descending colon as three tubes."""
    side, front, sag = patient.half_width - 26, patient.half_depth - 26, generator.uniform(-70, -35)
    parts = (
        [(side, 0, -175), (side + 2, -4, -110), (side - 6, 8, -50)],
        [
            (side - 12, 26, -42),
            (45, front, sag + 4),
            (0, front + 4, sag),
            (-45, front, sag + 16),
            (-side + 6, 24, 2),
        ],
        [(-side + 1, 0, 4), (-side - 4, -22, -50), (-side - 4, -18, -110), (-side + 8, 0, -175)],
    )
    for points in parts:
        control = np.asarray(points, dtype=np.float64)
        control = control + generator.normal(0.0, 3.5, control.shape)
        _paint_hollow(
            canvas,
            control,
            generator.uniform(14, 22, len(control)),
            wall=(2.0, generator.uniform(60, 90)),
            content=generator.uniform(-20, 60),
            mottle=generator.uniform(15, 60),
            gas=generator.uniform(-0.4, 1.2),
            lattice=draw_lattice(generator),
        )


def paint_loops(canvas: Canvas, patient: Patient, generator: np.random.Generator) -> None:
    """Paint loops of small bowel low in the cavity."""
    for _ in range(22):
        start = generator.uniform((-75, -12, -165), (72, 56, -42))
        heading = generator.normal(0.0, 1.0, (4, 3)) * np.array([26, 14, 14])
        control = start + np.concatenate([np.zeros((1, 3)), np.cumsum(heading, axis=0)])
        limit = 0.7 * np.array([patient.half_width, patient.half_depth])
        control[:, :2] = np.clip(control[:, :2], [-limit[0], -20], limit)
        control[:, 2] = np.minimum(control[:, 2], -34)
        # Repeated points would break the spline.
        control = control + np.arange(5)[:, None] * 0.5
        _paint_hollow(
            canvas,
            control,
            np.full(5, generator.uniform(8.5, 13)),
            wall=(generator.uniform(1.8, 3.2), generator.uniform(75, 115)),
            content=generator.uniform(15, 95),
            mottle=generator.uniform(3, 14),
            gas=generator.uniform(0.1, 1.0) if generator.random() < 0.25 else 2.0,
            lattice=draw_lattice(generator, 12),
        )


def paint_neighbours(canvas: Canvas, curve: FloatArray, radii: FloatArray, generator: np.random.Generator) -> None:
    """Paint loops of jejunum that lie against the gland (centreline `curve` in mm) and look like it."""
    for _ in range(int(generator.integers(9, 15))):
        length = int(len(curve) * generator.uniform(0.15, 0.3))
        start = int(generator.integers(len(curve) // 4, len(curve) - length))
        along = np.linspace(start, start + length - 1, 4).astype(np.int64)
        radius = generator.uniform(7.5, 12.5)
        # From the front over the lower side to the back below; never straight behind, where the vessels are.
        angle = generator.uniform(-0.45, 0.8) * np.pi / 2
        side = np.array([0.0, np.sin(angle), -np.cos(angle)])
        gap = radii[along] + radius + generator.uniform(-2.5, 0.5) + np.array([6.0, 0.0, 0.0, 6.0])
        level = generator.uniform(70, 105)
        _paint_hollow(
            canvas,
            curve[along] + side * gap[:, None],
            np.full(4, radius),
            wall=(generator.uniform(2.0, 3.5), level + generator.uniform(0, 20)),
            content=level,
            mottle=generator.uniform(3, 9),
            gas=generator.uniform(0.3, 0.8) if generator.random() < 0.15 else 2.0,
            lattice=draw_lattice(generator, 12),
            rim=0.0,
        )
