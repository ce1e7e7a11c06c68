# SPDX-License-Identifier: Apache-2.0
"""Axial slices as pictures, and which of them to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robust3d.volume.labels import IGNORE


def seen(plane: NDArray[Any]) -> NDArray[Any]:
    """Turn a slice ``(D1, D2)`` (first axis across, second up) into the rows of a picture ``(D2, D1)``."""
    return plane.swapaxes(0, 1)[::-1, ::-1]


def fullest_slice(label: NDArray[Any]) -> int:
    """Return the index along the third axis of the slice with most foreground, voxels to ignore not counted."""
    return int(np.count_nonzero((label > 0) & (label != IGNORE), axis=(0, 1)).argmax())


def most_affected_slices(
    label: NDArray[Any], clean: NDArray[Any], attacked: NDArray[Any], *, number: int, apart: int = 3
) -> list[int]:
    """Return the axial slices with most voxels that were right before the attack and wrong after it.

    Parameters
    ----------
    label, clean, attacked : ndarray of int, shape (D1, D2, D3)
        Truth, and the predictions before and after.
    number : int
        At most so many; fewer where fewer slices were affected.
    apart : int
        Least distance of two slices, so that neighbours that look alike do not fill the page.
    """
    harm = np.count_nonzero((clean == label) & (attacked != label), axis=(0, 1))
    chosen: list[int] = []
    for index in np.argsort(-harm, kind="stable"):
        if len(chosen) == number or harm[index] == 0:
            break
        if all(abs(int(index) - other) >= apart for other in chosen):
            chosen.append(int(index))
    return sorted(chosen)
