# SPDX-License-Identifier: Apache-2.0
"""Whether an image and its label belong together: shape and spacing must agree, a differing affine is a warning."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robust3d.foundation.errors import InputError

Grid = tuple[tuple[int, ...], tuple[float, ...], NDArray[np.float64]]
"""Shape, spacing in mm and affine."""


class GeometryWarning(UserWarning):
    """Image and label disagree about their place in the scanner only, or a header had to be mended."""


def check_pair(
    image: tuple[Path, tuple[int, ...], tuple[float, ...], NDArray[np.float64]],
    label: tuple[Path, tuple[int, ...], tuple[float, ...], NDArray[np.float64]],
    *,
    second: str = "label",
) -> None:
    """Compare (file, shape, spacing in mm, affine) of an image and its label, or what ``second`` calls it.

    Raises
    ------
    InputError
        If shapes or spacings differ; names both files and both values.
    """
    image_path, image_shape, image_spacing, image_affine = image
    label_path, label_shape, label_spacing, label_affine = label
    if image_shape != label_shape:
        raise InputError(
            f"shape {image_shape} of image {image_path} differs from shape {label_shape} of {second} {label_path}; "
            "resample one to the grid of the other"
        )
    if not np.allclose(image_spacing, label_spacing, rtol=1e-3):
        raise InputError(
            f"spacing {_millimetres(image_spacing)} of image {image_path} differs from spacing "
            f"{_millimetres(label_spacing)} of {second} {label_path}; resample one to the grid of the other"
        )
    if not np.allclose(image_affine, label_affine, atol=1e-2):
        warnings.warn(
            f"affine of image {image_path} differs from that of {second} {label_path} by up to "
            f"{np.abs(image_affine - label_affine).max():.3g} mm; voxels are paired by index",
            GeometryWarning,
            stacklevel=3,
        )


def _millimetres(spacing: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{edge:g}" for edge in spacing) + ") mm"
