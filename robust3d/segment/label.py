# SPDX-License-Identifier: Apache-2.0
"""The label of a volume as gradients need it: checked, and beside the volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.foundation.errors import InputError
from robust3d.volume.labels import IGNORE
from robust3d.volume.slabs import slabs


def label_beside(raw: Tensor, label: NDArray[Any] | Tensor, classes: int) -> Tensor:
    """Return a label on the device of a volume, in 8 bits if it comes in them, else in 64.

    Raises
    ------
    InputError
        If the shapes differ, or it holds classes that the network does not have.
    """
    given = label if isinstance(label, Tensor) else torch.from_numpy(np.ascontiguousarray(label))
    truth = given.to(raw.device)
    if truth.dtype != torch.uint8:
        truth = truth.long()
    if truth.shape != raw.shape:
        raise InputError(f"image has shape {tuple(raw.shape)} and label {tuple(truth.shape)}; they must be equal")
    # Slab by slab, and without an index of voxels, which would take 24 bytes of each.
    extremes = [_extremes(truth[rows]) for rows in slabs(len(truth))]
    lowest, highest = min(low for low, _ in extremes), max(high for _, high in extremes)
    if highest >= classes or lowest < 0:
        raise InputError(f"label holds classes {lowest} to {highest}, the network has 0 to {classes - 1}")
    return truth


def _extremes(part: Tensor) -> tuple[int, int]:
    """Return the lowest and the highest class; what is ignored counts as background."""
    known = part.masked_fill(part == IGNORE, 0)
    return int(known.min()), int(known.max())
