# SPDX-License-Identifier: Apache-2.0
"""The scanner: point spread, slow shading and correlated noise."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from robust3d.data.phantom.canvas import Canvas
from robust3d.data.phantom.fields import FloatArray, draw_lattice, evaluate_field

_FWHM = 2.3548200450309493


def scan(canvas: Canvas, settings: np.random.Generator, noise: np.random.Generator) -> FloatArray:
    """Make the measured image of a canvas.

    Parameters
    ----------
    canvas
        The painted anatomy.
    settings
        Source of the scanner's settings, whatever the grid: blur of 2 to 3.6 mm FWHM, noise of 6 to 10 HU,
        as in a clinical portal venous scan.
    noise
        Source of the voxel noise, whose number of draws is the number of voxels.

    Returns
    -------
    FloatArray
        HU, shape ``(D1, D2, D3)``.
    """
    blur, grain = settings.uniform(2.0, 3.6) / _FWHM, settings.uniform(1.0, 1.8)
    sigma, shading = settings.uniform(6.0, 10.0), settings.uniform(1.0, 3.0)
    image = gaussian_filter(canvas.image, [blur / step for step in canvas.spacing], mode="nearest")
    image += shading * evaluate_field(draw_lattice(settings, 12), 60.0, canvas.axes)
    white = noise.standard_normal(image.shape)
    # Reconstruction correlates the noise within a slice more than across slices.
    widths = [grain / step for step in canvas.spacing[:2]] + [0.5 * grain / canvas.spacing[2]]
    coloured = gaussian_filter(white, widths, mode="wrap")
    image += coloured * (sigma / coloured.std())
    return np.asarray(image, dtype=np.float64)
