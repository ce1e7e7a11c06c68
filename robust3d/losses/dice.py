# SPDX-License-Identifier: Apache-2.0
"""Soft Dice loss of the foreground classes over all voxels that it is given (Milletari et al., arXiv 1606.04797)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from robust3d.losses.cross_entropy import cross_entropy
from robust3d.losses.reduction import known
from robust3d.volume.labels import IGNORE

_SMOOTHING = 1.0
"""In voxels, in numerator and denominator; keeps the loss defined where neither label nor prediction has a class."""


def soft_dice(logits: Tensor, label: Tensor) -> Tensor:
    """Return 1 - (2 sum p y + s) / (sum p + sum y + s), mean over foreground classes, with s = 1 voxel.

    The denominator has sums, as the DSC, where the paper's has sums of squares.

    The sums run over batch and voxels together, so on a fused prediction this is the Dice of the whole volume.

    Parameters
    ----------
    logits : Tensor, shape (B, K, ...)
        Logits or log-probabilities.
    label : Tensor of int64, shape (B, ...)
        Class of each voxel; 255 does not count.
    """
    classes = logits.shape[1]
    counts = (label != IGNORE).unsqueeze(1)
    probabilities = torch.softmax(logits, dim=1)[:, 1:] * counts
    truth = (one_hot(known(label), classes).movedim(-1, 1)[:, 1:] * counts).to(probabilities.dtype)
    axes = [axis for axis in range(truth.ndim) if axis != 1]
    overlap = (probabilities * truth).sum(axes)
    size = probabilities.sum(axes) + truth.sum(axes)
    return (1 - (2 * overlap + _SMOOTHING) / (size + _SMOOTHING)).mean()


def dice_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Return soft Dice loss plus cross entropy, the usual training loss (Isensee et al., arXiv:1809.10486)."""
    return soft_dice(logits, label) + cross_entropy(logits, label)
