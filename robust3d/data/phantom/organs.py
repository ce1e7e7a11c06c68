# SPDX-License-Identifier: Apache-2.0
"""The solid organs around the pancreas: liver, gallbladder, spleen, kidneys and adrenals."""

from __future__ import annotations

import numpy as np

from robust3d.data.phantom.canvas import Canvas
from robust3d.data.phantom.curves import smooth_curve
from robust3d.data.phantom.fields import FloatArray, draw_lattice, evaluate_field
from robust3d.data.phantom.patient import Patient
from robust3d.data.phantom.trunk import diaphragm


def _near(generator: np.random.Generator, centre: tuple[float, float, float], spread: float) -> FloatArray:
    return np.asarray(centre) + generator.normal(0.0, spread, 3)


def paint_liver(canvas: Canvas, patient: Patient, cavity: FloatArray, generator: np.random.Generator) -> None:
    """Paint liver and gallbladder; `cavity` is the distance to the abdominal cavity on the whole canvas."""
    level = generator.uniform(98, 118)
    right = _near(generator, (74, -2, 48), 5.0)
    left = _near(generator, (6, 44, 62), 5.0)
    size = generator.uniform(0.92, 1.08)
    box = canvas.box(np.array([-90.0, -110.0, -70.0]), np.array([150.0, 110.0, 150.0]))
    distance = np.full(canvas.image[box].shape, 40.0)
    for centre, radii in ((right, (62, 78, 82)), (left, (68, 34, 42))):
        lobe = canvas.ellipsoid_in(box, centre, np.asarray(radii) * size)
        distance = np.minimum(distance, lobe)
    waves = evaluate_field(draw_lattice(generator), 22.0, canvas.box_axes(box))
    grain = evaluate_field(draw_lattice(generator), 6.0, canvas.box_axes(box))
    distance = np.maximum(distance + 2.5 * waves, cavity[box] + 3.0)
    distance = np.maximum(distance, diaphragm(canvas, box, patient) + 3.0)
    # The hollow under the liver, where the duodenum, the head of the pancreas and the kidney lie.
    x, y, z = canvas.at(box)
    hollow = np.sqrt(((x - 30) / 1.1) ** 2 + (y - 2) ** 2 + (z + 22) ** 2) - generator.uniform(34, 40)
    distance = np.maximum(distance, -hollow)
    canvas.paint(box, distance, level + 4 * grain)
    veins = np.abs(waves) * 9 + np.abs(grain) * 2.5 - 1.6
    canvas.paint(box, np.maximum(distance + 12, veins), level + generator.uniform(25, 45))
    gall = _near(generator, (58, 36, 0), 4.0)
    inner, part = canvas.ellipsoid(gall, generator.uniform((10, 13, 18), (15, 19, 26)))
    canvas.paint(inner, part - 2, 70.0)
    canvas.paint(inner, part, generator.uniform(2, 18))


def paint_spleen(canvas: Canvas, patient: Patient, cavity: FloatArray, generator: np.random.Generator) -> None:
    """Paint the spleen in the left back corner of the cavity."""
    level = generator.uniform(108, 128)
    centre = _near(generator, (-(patient.half_width - 24), -26, 44), 4.0)
    box, distance = canvas.ellipsoid(centre, generator.uniform((23, 38, 44), (30, 48, 58)), turn=-0.35)
    # The hilum is a hollow that faces the tail of the pancreas.
    x, y, z = canvas.at(box)
    x, y, z = x - centre[0] - 38, y - centre[1] - 22, (z - centre[2]) / 1.6
    hollow = np.sqrt(x * x + y * y + z * z) - 26
    distance = np.maximum(np.maximum(distance, -hollow), cavity[box] + 2.5)
    distance = np.maximum(distance, diaphragm(canvas, box, patient) + 2.0)
    grain = evaluate_field(draw_lattice(generator), 6.0, canvas.box_axes(box))
    canvas.paint(box, distance, level + 3 * grain)


def paint_kidneys(canvas: Canvas, patient: Patient, generator: np.random.Generator) -> None:
    """Paint kidneys (cortex, medulla, sinus) in their fat, and the adrenals above them."""
    cortex, medulla = generator.uniform(150, 195), generator.uniform(115, 145)
    front = patient.back + 12
    for side, height in ((-1.0, -14.0), (1.0, -32.0)):
        centre = _near(generator, (side * 60, front, height), 4.0)
        radii = generator.uniform((25, 22, 48), (31, 27, 58))
        turn = side * generator.uniform(0.3, 0.8)
        box, distance = canvas.ellipsoid(centre, radii, turn=turn, margin=9.0)
        canvas.paint(box, distance - generator.uniform(1.5, 4.5), patient.visceral_fat)
        x, y, z = canvas.at(box)
        x, y, z = x - centre[0] + side * 20, y - centre[1] - 8, (z - centre[2]) / 1.7
        hilum = np.sqrt(x * x + y * y + z * z)
        distance = np.maximum(distance, 12 - hilum)
        pyramids = evaluate_field(draw_lattice(generator), 9.0, canvas.box_axes(box))
        canvas.paint(box, distance, cortex)
        canvas.paint(box, distance + 7.0 + 3.0 * pyramids, medulla)
        canvas.paint(box, np.maximum(distance + 3, hilum - 17), -60.0)
        top = (centre[0] - side * 18, centre[1] + 10, centre[2] + radii[2] - 6)
        gland, widths = smooth_curve(
            [(top[0], top[1] + 8, top[2]), top, (top[0] + side * 6, top[1] - 14, top[2] + 4)], (3.0, 3.5, 3.0)
        )
        box, distance = canvas.tube(gland, widths)
        canvas.paint(box, distance, 80.0)
