# SPDX-License-Identifier: Apache-2.0
"""The trunk: skin, fat, muscle wall, cavity, lungs, heart and back muscles."""

from __future__ import annotations

import numpy as np

from robust3d.data.phantom.canvas import Box, Canvas
from robust3d.data.phantom.curves import smooth_curve
from robust3d.data.phantom.fields import FloatArray, draw_lattice, evaluate_field
from robust3d.data.phantom.patient import Patient

_ROUNDNESS = 2.4


def section_distance(canvas: Canvas, box: Box, half_width: float, half_depth: float) -> FloatArray:
    """Measure the distance in mm to an upright superelliptic cylinder (negative inside)."""
    x, y, _ = canvas.at(box)
    norm = (np.abs(x / half_width) ** _ROUNDNESS + np.abs(y / half_depth) ** _ROUNDNESS) ** (1 / _ROUNDNESS)
    return np.asarray((norm - 1.0) * half_depth, dtype=np.float64)


def everything(canvas: Canvas) -> Box:
    """Give the box that holds the whole canvas."""
    return slice(0, None), slice(0, None), slice(0, None)


def diaphragm(canvas: Canvas, box: Box, patient: Patient) -> FloatArray:
    """Measure the height in mm above the diaphragm (positive in the lungs)."""
    x, y, z = canvas.at(box)
    right = patient.dome - 62 * ((x - 55) / 75) ** 2
    left = patient.dome - 14 - 62 * ((x + 60) / 70) ** 2
    top = 0.5 * (right + left + np.sqrt((right - left) ** 2 + 30.0**2))
    return np.asarray(z - top + 70 * ((y - 12) / 85) ** 2, dtype=np.float64)


def paint_trunk(canvas: Canvas, patient: Patient, generator: np.random.Generator) -> FloatArray:
    """Paint the trunk and return the signed distance in mm to the abdominal cavity, on the whole canvas."""
    box = everything(canvas)
    muscle = generator.uniform(48, 66)
    cavity = section_distance(canvas, box, patient.half_width, patient.half_depth)
    streaks = evaluate_field(draw_lattice(generator), 9.0, canvas.axes)
    sheets = evaluate_field(draw_lattice(generator), 20.0, canvas.axes)
    # Fat is thinner in front of the flanks and thicker behind.
    _, y, _ = canvas.points
    fat = patient.wall + patient.fat * (1.0 - 0.0025 * y)
    canvas.paint(box, cavity - fat - 2.5, 50.0)
    canvas.paint(box, cavity - fat, patient.visceral_fat - 4 + 5 * streaks)
    canvas.paint(box, cavity - patient.wall, muscle + 6 * streaks)
    # A fat plane between the layers of the wall.
    canvas.paint(box, np.abs(cavity - 0.55 * patient.wall - 1.5 * streaks) - 0.4, -20.0)
    # Small vessels and folds of the mesentery streak the fat.
    folds = np.clip(1.0 - 3.0 * np.abs(streaks + 0.6 * sheets), 0.0, 1.0)
    canvas.paint(box, cavity, patient.visceral_fat + 6 * streaks + generator.uniform(20, 60) * folds)
    lungs = np.maximum(cavity + 1.0, -0.6 * diaphragm(canvas, box, patient))
    canvas.paint(box, lungs, -840.0 + 25 * streaks)
    heart, distance = canvas.ellipsoid((-25, 30, patient.dome + 30), (55, 45, 42))
    canvas.paint(heart, distance - 5, -95.0)
    canvas.paint(heart, distance, generator.uniform(120, 150))
    _paint_back(canvas, patient, muscle, generator)
    return cavity


def _paint_back(canvas: Canvas, patient: Patient, muscle: float, generator: np.random.Generator) -> None:
    size = generator.uniform(0.9, 1.15)
    for side in (-1.0, 1.0):
        spine = patient.back
        erector = [(side * 32, spine - 27, 200), (side * 33, spine - 27, 0), (side * 30, spine - 27, -200)]
        psoas = [(side * 27, spine + 2, 15), (side * 36, spine + 4, -50), (side * 48, spine + 14, -180)]
        quadratus = [(side * 52, spine - 12, 20), (side * 68, spine - 6, -60), (side * 78, spine - 4, -110)]
        for points, radii in (
            (erector, (20, 24, 23)),
            (psoas, (7, 18, 23)),
            (quadratus, (8, 13, 11)),
        ):
            curve, widths = smooth_curve(points, np.asarray(radii) * size, step=5.0)
            box, distance = canvas.tube(curve, widths, margin=2.0)
            canvas.paint(box, distance - 1.5, patient.visceral_fat)
            canvas.paint(box, distance, muscle + 4.0)
