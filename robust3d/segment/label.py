# SPDX-License-Identifier: Apache-2.0
"""The label of a volume as gradients need it: checked, and beside the volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.foundation.errors import InputError
from robust3d.volume.channels import spatial_shape
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
    if truth.shape != spatial_shape(raw):
        raise InputError(f"image has shape {spatial_shape(raw)} and label {tuple(truth.shape)}; they must be equal")
    # Slab by slab, and without an index of voxels, which would take 24 bytes of each.
    for rows in slabs(len(truth)):
        # Whatever is ignored counts as background.
        known = truth[rows].masked_fill(truth[rows] == IGNORE, 0)
        for wrong in [] if known.numel() == 0 else [int(known.max()), int(known.min())]:
            if not 0 <= wrong < classes:
                raise InputError(f"label holds class {wrong}, the network has 0 to {classes - 1}")
    return truth
