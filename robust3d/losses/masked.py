# SPDX-License-Identifier: Apache-2.0
"""Losses of SEA (Croce et al., arXiv:2306.12941, section 3.1), which spend nothing on voxels already wrong.

All take logits ``(B, K, ...)`` or log-probabilities, and int64 labels ``(B, ...)`` where 255 means "ignore".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from robust3d.losses.reduction import correct, counted_mean, known, log_probability
from robust3d.volume.labels import IGNORE


def masked_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Return cross entropy of the voxels classified right, 0 for the others, mean over all that count (Eq. 5)."""
    return counted_mean(-log_probability(logits, label) * correct(logits, label), label)


def balanced_masked_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Return cross entropy of the voxels classified right, summed with weight 1 / N_y, mean over classes (Eq. 6).

    N_y is the number of voxels of class y in ``label``, where the paper counts the training set; so that every class
    that is there weighs the same in the case at hand.
    """
    counts = label != IGNORE
    sizes = (one_hot(known(label), logits.shape[1]) * counts.unsqueeze(-1)).flatten(0, -2).sum(dim=0)
    weight = counts.to(logits.dtype) / sizes.clamp_min(1)[known(label)]
    total = (-log_probability(logits, label) * correct(logits, label) * weight).sum()
    return total / (sizes > 0).sum().clamp_min(1)


def jensen_shannon(logits: Tensor, label: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence of softmax and one-hot label, mean over voxels; at most log 2 (Eq. 8).

    It depends on p_y alone: log 2 - log(1 + p_y) / 2 + p_y log(p_y / (1 + p_y)) / 2; its gradient vanishes as p_y -> 0.
    """
    log_hit = log_probability(logits, label)
    hit = log_hit.exp()
    rest = torch.log1p(hit)
    return counted_mean(math.log(2) - rest / 2 + hit * (log_hit - rest) / 2, label)
