# SPDX-License-Identifier: Apache-2.0
"""Cross entropy (Eq. 1, as a mean over voxels) and its weightings by SegPGD and CosPGD.

All take logits ``(B, K, ...)``, or the logarithm of fused probabilities, of which the softmax is those probabilities,
and int64 labels ``(B, ...)`` where 255 means "ignore".
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softmax

from robust3d.losses.reduction import correct, counted_mean, known, log_probability


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Return -log p_y, mean over voxels."""
    return counted_mean(-log_probability(logits, label), label)


def balanced_cross_entropy(logits: Tensor, label: Tensor, wrong: float = 0.5) -> Tensor:
    """Return cross entropy with weight ``1 - wrong`` at voxels classified right and ``wrong`` at the others.

    Gu et al., SegPGD (arXiv:2207.12391), Eq. 5; their ``wrong`` is lambda_t = (t - 1) / (2 T).
    """
    weight = wrong + (1.0 - 2.0 * wrong) * correct(logits, label).to(logits.dtype)
    return counted_mean(-weight * log_probability(logits, label), label)


def cosine_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Return cross entropy weighted by cos(softmax, one-hot label), a constant for the gradient.

    Agnihotri et al., CosPGD (arXiv:2302.02213), Eq. 9: the weight is p_y / |p|.
    """
    probabilities = softmax(logits.detach(), dim=1)
    hit = probabilities.gather(1, known(label).unsqueeze(1)).squeeze(1)
    return counted_mean(-hit / probabilities.norm(dim=1) * log_probability(logits, label), label)
