# SPDX-License-Identifier: Apache-2.0
"""The public function: a seed in, an abdominal CT with its labels out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robust3d.data.phantom.bowel import (
    paint_colon,
    paint_duodenum,
    paint_loops,
    paint_neighbours,
    paint_stomach,
)
from robust3d.data.phantom.canvas import Canvas
from robust3d.data.phantom.deformation import displacement
from robust3d.data.phantom.organs import paint_kidneys, paint_liver, paint_spleen
from robust3d.data.phantom.pancreas import draw_gland, paint_bed, paint_cyst, paint_gland, place_gland
from robust3d.data.phantom.patient import draw_patient
from robust3d.data.phantom.scanner import scan
from robust3d.data.phantom.skeleton import paint_skeleton
from robust3d.data.phantom.specks import drop_specks
from robust3d.data.phantom.trunk import paint_trunk
from robust3d.data.phantom.vessels import paint_splenic_vein, paint_vessels
from robust3d.foundation.errors import InputError

# One independent stream a concern: a change to one leaves the others as they are. Append only.
_STREAMS = (
    "patient", "deformation", "trunk", "skeleton", "liver", "spleen", "kidneys", "stomach", "duodenum",
    "colon", "loops", "neighbours", "vessels", "course", "gland", "cyst", "scanner", "noise", "bed",
)  # fmt: skip

_HU_RANGE = (-1024.0, 1500.0)


@dataclass(frozen=True)
class Phantom:
    """One generated case.

    Attributes
    ----------
    image
        HU, int16, shape ``(D1, D2, D3)``, axes left to right, posterior to anterior, inferior to superior.
    label
        uint8 of the same shape: 0 background, 1 pancreas, 2 cyst.
    affine
        Voxel to millimetre (RAS+), float64, shape ``(4, 4)``; the centre of the volume is 0.
    spacing
        Voxel size in mm along each axis.
    """

    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64]
    spacing: tuple[float, float, float]


def _check(seed: int, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed must be a non-negative integer, got {seed!r}.")
    if np.shape(shape) != (3,) or not all(isinstance(n, (int, np.integer)) and n >= 16 for n in shape):
        raise InputError(f"shape must be three integers of at least 16, got {shape!r}.")
    if np.shape(spacing) != (3,) or not all(
        isinstance(step, (int, float, np.number)) and np.isfinite(step) and step > 0 for step in spacing
    ):
        raise InputError(f"spacing must be three positive numbers of millimetres, got {spacing!r}.")


def generate_phantom(
    seed: int,
    *,
    shape: tuple[int, int, int] = (112, 96, 80),
    spacing: tuple[float, float, float] = (3.0, 3.0, 4.0),
    cyst: bool = False,
) -> Phantom:
    """Generate one abdominal CT in the portal venous phase.

    The anatomy is made in millimetres from the seed alone: another shape or spacing shows the same patient,
    cropped or sampled otherwise (only the noise is drawn anew). The same arguments give the same voxels
    everywhere.

    Parameters
    ----------
    seed
        Non-negative integer; each seed is one patient.
    shape
        Voxels along each axis, at least 16.
    spacing
        Voxel size in mm along each axis.
    cyst
        Put a cyst, label 2, at the pancreas.

    Returns
    -------
    Phantom
        Image, label, affine and spacing.

    Raises
    ------
    InputError
        If seed, shape or spacing is out of range.
    """
    _check(seed, shape, spacing)
    children = np.random.SeedSequence(int(seed)).spawn(len(_STREAMS))
    streams = {
        name: np.random.Generator(np.random.PCG64(child)) for name, child in zip(_STREAMS, children, strict=True)
    }
    axes = [
        (np.arange(n, dtype=np.float64) - (n - 1) / 2) * float(step) for n, step in zip(shape, spacing, strict=True)
    ]
    canvas = Canvas(axes, [float(step) for step in spacing], displacement(streams["deformation"], axes))
    label = _paint(canvas, streams, cyst)
    image = scan(canvas, streams["scanner"], streams["noise"])
    affine = np.diag([*(float(step) for step in spacing), 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    return Phantom(
        image=np.rint(np.clip(image, *_HU_RANGE)).astype(np.int16),
        label=label,
        affine=affine,
        spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
    )


def _paint(canvas: Canvas, streams: dict[str, np.random.Generator], cyst: bool) -> NDArray[np.uint8]:
    """Paint from the outside in, the pancreas last, and return the label."""
    patient = draw_patient(streams["patient"])
    gland = draw_gland(streams["course"])
    cavity = paint_trunk(canvas, patient, streams["trunk"])
    shape = place_gland(canvas, gland, streams["gland"])
    paint_bed(canvas, gland, shape, streams["bed"])
    paint_liver(canvas, patient, cavity, streams["liver"])
    paint_spleen(canvas, patient, cavity, streams["spleen"])
    paint_kidneys(canvas, patient, streams["kidneys"])
    paint_colon(canvas, patient, streams["colon"])
    paint_loops(canvas, patient, streams["loops"])
    paint_neighbours(canvas, gland.curve, gland.radii, streams["neighbours"])
    pylorus = paint_stomach(canvas, streams["stomach"])
    paint_duodenum(canvas, gland.head, pylorus, streams["duodenum"])
    confluence = gland.curve[gland.neck] + [0.0, -gland.radii[gland.neck] - 3.0, 0.0]
    level = paint_vessels(canvas, patient, confluence, streams["vessels"])
    paint_skeleton(canvas, patient, streams["skeleton"])
    paint_gland(canvas, gland, shape, streams["gland"])
    left = slice(gland.neck, None)
    surface = np.full(canvas.image.shape, 40.0)
    surface[shape.box] = shape.distance
    vein, depth = paint_splenic_vein(canvas, gland.curve[left], gland.radii[left], surface, level, streams["vessels"])
    label = np.zeros(canvas.image.shape, dtype=np.uint8)
    tissue = surface < 0.0
    tissue[vein] &= depth >= 0.0
    label[drop_specks(tissue, canvas.spacing)] = 1
    if cyst:
        box, distance = paint_cyst(canvas, gland, streams["cyst"])
        label[box][distance < 0.0] = 2
    return label
