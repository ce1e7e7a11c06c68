# SPDX-License-Identifier: Apache-2.0
"""A common unit for volumes without a physical one (MR): percent of the range of each case's own voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robust3d.foundation.errors import InputError
from robust3d.volume.volume import Image, Storage, Volume

PERCENTILES = (0.5, 99.5)
"""Of all voxels of a case; they become 0 and 100."""

UNIT = "% of range"
"""Unit of a rescaled volume: percent of the distance between the percentiles."""


def rescale_to_percent(volume: Volume) -> Volume:
    """Return the case with its voxels mapped linearly so that the percentiles are 0 and 100; nothing is clipped.

    Each channel has percentiles of its own.

    Raises
    ------
    InputError
        If the percentiles are equal.
    """
    image = volume.image
    if volume.channels == 1:
        rescaled = _percent(image, f"case {volume.name}")
    else:
        rescaled = np.stack([_percent(one, f"case {volume.name}, channel {n}") for n, one in enumerate(image)])
    return replace(volume, image=rescaled, storage=Storage(), files=(Storage(),) * len(volume.files))


def _percent(image: Image, where: str) -> Image:
    low, high = (float(value) for value in np.percentile(image, PERCENTILES))
    if not low < high:
        raise InputError(
            f"{where} holds {low:g} at percentile {PERCENTILES[0]} and {high:g} at {PERCENTILES[1]}; "
            "it has no range to be rescaled by"
        )
    return ((image.astype(np.float64) - low) * (100 / (high - low))).astype(np.float32)
