# SPDX-License-Identifier: Apache-2.0
"""Smooth centrelines through a few control points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline, PchipInterpolator

from robust3d.data.phantom.fields import FloatArray


def smooth_curve(points: ArrayLike, radii: ArrayLike, step: float = 3.0) -> tuple[FloatArray, FloatArray]:
    """Interpolate control points and radii along the chord length.

    Parameters
    ----------
    points
        Control points in mm, shape ``(m, 3)``.
    radii
        Radius in mm at each control point, shape ``(m,)``.
    step
        Largest distance between two samples in mm, along the chords.

    Returns
    -------
    tuple[FloatArray, FloatArray]
        Centres of shape ``(n, 3)`` and radii of shape ``(n,)``.
    """
    knots = np.asarray(points, dtype=np.float64)
    chords = np.sqrt(np.sum(np.diff(knots, axis=0) ** 2, axis=1))
    position = np.concatenate([[0.0], np.cumsum(chords)])
    samples = np.linspace(0.0, position[-1], int(np.ceil(position[-1] / step)) + 1)
    centres = CubicSpline(position, knots, bc_type="natural")(samples)
    widths = PchipInterpolator(position, np.asarray(radii, dtype=np.float64))(samples)
    return np.asarray(centres, dtype=np.float64), np.asarray(widths, dtype=np.float64)
