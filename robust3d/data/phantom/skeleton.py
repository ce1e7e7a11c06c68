# SPDX-License-Identifier: Apache-2.0
"""The skeleton: vertebrae with discs, canal and processes, ribs and iliac wings."""

from __future__ import annotations

import numpy as np

from robust3d.data.phantom.canvas import Canvas
from robust3d.data.phantom.curves import smooth_curve
from robust3d.data.phantom.patient import Patient


def paint_skeleton(canvas: Canvas, patient: Patient, generator: np.random.Generator) -> None:
    """Paint spine, ribs and pelvis."""
    _paint_spine(canvas, patient, generator)
    _paint_ribs(canvas, patient, generator)
    _paint_pelvis(canvas, patient, generator)


def _paint_spine(canvas: Canvas, patient: Patient, generator: np.random.Generator) -> None:
    period, phase = generator.uniform(32, 36), generator.uniform(0, 34)
    spongy, width, depth = generator.uniform(140, 210), generator.uniform(20, 24), generator.uniform(15, 18)
    low, high = np.array([-50.0, patient.back - 70, -1e4]), np.array([50.0, patient.back + 30, 1e4])
    box = canvas.box(low, high)
    x, y, z = canvas.at(box)
    y = y - patient.back
    level = np.abs(np.mod(z + phase, period) - period / 2)  # distance from the middle of the nearest vertebra
    body = (np.sqrt((x / width) ** 2 + (y / depth) ** 2) - 1.0) * depth
    vertebra = np.maximum(body, level - 0.37 * period)
    process = np.maximum(np.abs(x) - 3.5, np.maximum(np.abs(y + depth + 26) - 12, level - 0.3 * period))
    wings = np.maximum(np.abs(x) - 38, np.maximum(np.abs(y + depth + 4 + 0.15 * np.abs(x)) - 4, level - 6.0))
    canal = np.sqrt((x / 1.25) ** 2 + (y + depth + 9) ** 2) - 8.0
    arch = np.maximum(canal - 5.0, level - 0.36 * period)
    canvas.paint(box, body, 75.0)
    for part in (process, wings, arch):
        canvas.paint(box, part, 310.0)
    canvas.paint(box, vertebra, 420.0)
    canvas.paint(box, vertebra + 2.0, spongy)
    canvas.paint(box, canal, 25.0)


def _paint_ribs(canvas: Canvas, patient: Patient, generator: np.random.Generator) -> None:
    bone = generator.uniform(260, 360)
    first, pitch = generator.uniform(-2, 14), generator.uniform(21, 25)
    margin = 0.45 * patient.wall
    for side in (-1.0, 1.0):
        for index in range(9):
            # The lowest ribs float: they end before they reach the front.
            reach = (95.0, 125.0)[index] if index < 2 else 165.0
            angles = np.deg2rad(np.linspace(22, reach, 14))
            scale = np.cos(angles) ** 2
            power = (np.abs(np.sin(angles)) ** 2.4 + np.abs(np.cos(angles)) ** 2.4) ** (-1 / 2.4)
            x = side * (patient.half_width + margin) * np.sin(angles) * power
            y = -(patient.half_depth + margin) * np.cos(angles) * power
            z = first + pitch * index + 18 - 45 * (angles / np.pi) * (1.6 - 0.5 * scale)
            curve, widths = smooth_curve(np.stack([x, y, z], axis=1), np.full(14, 4.6))
            box, distance = canvas.tube(curve, widths, margin=1.0)
            canvas.paint(box, distance, bone)
            canvas.paint(box, distance + 2.6, 150.0)


def _paint_pelvis(canvas: Canvas, patient: Patient, generator: np.random.Generator) -> None:
    top = generator.uniform(-125, -105)
    for side in (-1.0, 1.0):
        centre = (side * (patient.half_width - 18), patient.back + 28, top - 60)
        box, distance = canvas.ellipsoid(centre, (8, 52, 62), turn=side * 0.5)
        canvas.paint(box, distance, 330.0)
        canvas.paint(box, distance + 2.5, 180.0)
