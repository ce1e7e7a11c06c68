# SPDX-License-Identifier: Apache-2.0
"""What a pipeline says about a volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Prediction:
    """Class of each voxel.

    Parameters
    ----------
    mask : ndarray of uint8, shape (D1, D2, D3)
        After postprocessing.
    raw : ndarray of uint8, same shape
        Before postprocessing.
    box : three slices or None
        Where the fine stage of a cascade worked; ``None`` without one, or if the coarse stage found nothing.
    coarse_empty : bool
        Whether the coarse stage of a cascade found nothing, so that the fine stage did not work; always false for a
        single stage.
    """

    mask: NDArray[np.uint8]
    raw: NDArray[np.uint8]
    box: Box | None = None
    coarse_empty: bool = False
