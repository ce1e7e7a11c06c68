# SPDX-License-Identifier: Apache-2.0
"""What all voxel losses share: voxels that do not count, and the mean over those that do."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from robust3d.volume.labels import IGNORE


def log_probability(logits: Tensor, label: Tensor) -> Tensor:
    """Return log softmax(logits) at the label, shape of ``label``; at ignored voxels that of class 0."""
    return log_softmax(logits, dim=1).gather(1, known(label).unsqueeze(1)).squeeze(1)


def known(label: Tensor) -> Tensor:
    """Return the label with 0 where it says "ignore", to index classes by."""
    return label.masked_fill(label == IGNORE, 0)


def counted_mean(values: Tensor, label: Tensor) -> Tensor:
    """Return the mean of a value a voxel over the voxels that count; 0 if none does."""
    counts = label != IGNORE
    return torch.where(counts, values, 0.0).sum() / counts.sum().clamp_min(1)


def correct(logits: Tensor, label: Tensor) -> Tensor:
    """Return which voxels are classified right; a constant for the gradient."""
    return logits.detach().argmax(dim=1) == label
