# SPDX-License-Identifier: Apache-2.0
"""What a patient's parts share: the sizes of the trunk and the place of the spine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Patient:
    """Sizes of the trunk in mm; the origin lies near the neck of the pancreas, x points to the right.

    Attributes
    ----------
    half_width, half_depth
        Half axes of the abdominal cavity.
    wall, fat
        Thickness of the muscle wall and of the subcutaneous fat.
    back
        Antero-posterior coordinate of the centre of the vertebral bodies.
    dome
        Height of the top of the right diaphragm.
    visceral_fat
        HU of the fat between the organs.
    """

    half_width: float
    half_depth: float
    wall: float
    fat: float
    back: float
    dome: float
    visceral_fat: float


def draw_patient(generator: np.random.Generator) -> Patient:
    """Draw a patient."""
    size = generator.normal(0.0, 1.0)
    half_depth = float(np.clip(82 + 4 * size + generator.normal(0, 2.0), 73, 93))
    return Patient(
        half_width=float(np.clip(117 + 5 * size + generator.normal(0, 3.0), 104, 130)),
        half_depth=half_depth,
        wall=generator.uniform(8, 13),
        fat=float(np.clip(15 + 5 * size + generator.normal(0, 4.0), 6, 30)),
        back=-half_depth + generator.uniform(20, 25),
        dome=generator.uniform(105, 130),
        visceral_fat=generator.uniform(-112, -92),
    )
