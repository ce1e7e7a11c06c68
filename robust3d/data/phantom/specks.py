# SPDX-License-Identifier: Apache-2.0
"""Removal of the isolated specks that sampling a lobulated surface leaves behind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as components

_SPECK_MM3 = 400.0


def drop_specks(mask: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.bool_]:
    """Drop face-connected components below 0.4 ml that lie inside the view.

    Components at the border of the view stay: they may be the end of something larger outside, and a crop of
    a case has to equal the case seen through a smaller field of view.

    Parameters
    ----------
    mask
        Shape ``(D1, D2, D3)``.
    spacing
        Voxel size in mm.

    Returns
    -------
    NDArray[np.bool_]
        The mask without specks.
    """
    parts, count = components(mask)
    if count < 2:
        return mask
    size = np.bincount(parts.ravel(), minlength=count + 1) * (spacing[0] * spacing[1] * spacing[2])
    keep = size >= _SPECK_MM3
    for axis in range(3):
        for end in (0, -1):
            keep[np.unique(np.take(parts, end, axis=axis))] = True
    # The largest part stays whatever its size; index 0 is the background.
    keep[1 + int(np.argmax(size[1:]))] = True
    keep[0] = False
    return np.asarray(keep[parts], dtype=np.bool_)
