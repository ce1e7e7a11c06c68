# SPDX-License-Identifier: Apache-2.0
"""Losses of logit differences, which a saturated softmax cannot hide.

All take logits ``(B, K, ...)`` or log-probabilities, and int64 labels ``(B, ...)`` where 255 means "ignore".
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import one_hot

from robust3d.foundation.errors import InputError
from robust3d.losses.reduction import correct, counted_mean, known


def logit_margin(logits: Tensor, label: Tensor) -> Tensor:
    """Return max_{j != y} u_j - u_y, mean over voxels; for two classes the answer to DLR, which needs three."""
    return counted_mean(_other(logits, label) - _own(logits, label), label)


def masked_margin(logits: Tensor, label: Tensor) -> Tensor:
    """Return the margin of the voxels classified right, 0 for the others (DAG, arXiv:1703.08603, Eq. 2)."""
    return counted_mean((_other(logits, label) - _own(logits, label)) * correct(logits, label), label)


def difference_of_logits_ratio(logits: Tensor, label: Tensor) -> Tensor:
    """Return -(u_y - max_{j != y} u_j) / (u_(1) - u_(3)), mean over voxels (Croce & Hein, arXiv:2003.01690, Eq. 6).

    Raises
    ------
    InputError
        With fewer than three classes.
    """
    if logits.shape[1] < 3:
        raise InputError(f"DLR compares three logits and there are {logits.shape[1]}; use the margin loss")
    ordered = logits.topk(3, dim=1).values
    spread = ordered[:, 0] - ordered[:, 2]
    return counted_mean((_other(logits, label) - _own(logits, label)) / (spread + 1e-12), label)


def _own(logits: Tensor, label: Tensor) -> Tensor:
    return logits.gather(1, known(label).unsqueeze(1)).squeeze(1)


def _other(logits: Tensor, label: Tensor) -> Tensor:
    own = one_hot(known(label), logits.shape[1]).movedim(-1, 1).bool()
    return logits.masked_fill(own, float("-inf")).amax(dim=1)
