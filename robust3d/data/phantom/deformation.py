# SPDX-License-Identifier: Apache-2.0
"""The smooth random displacement that makes two patients differ in more than sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robust3d.data.phantom.fields import FloatArray, draw_lattice, evaluate_field

PITCH_MM = 55.0
LIMIT_MM = 12.0


def displacement(generator: np.random.Generator, axes: Sequence[FloatArray]) -> FloatArray:
    """Draw a low-frequency displacement field of a few millimetres.

    Parameters
    ----------
    generator
        Source of the draws.
    axes
        Three vectors of voxel coordinates in mm.

    Returns
    -------
    FloatArray
        Displacement in mm, shape ``(3, D1, D2, D3)``, each component within plus or minus `LIMIT_MM`.
    """
    amplitude = generator.uniform(2.5, 4.0)
    fields = [evaluate_field(draw_lattice(generator, 12), PITCH_MM, axes) for _ in range(3)]
    return np.stack([np.clip(amplitude * field, -LIMIT_MM, LIMIT_MM) for field in fields])
