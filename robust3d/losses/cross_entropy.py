# SPDX-License-Identifier: Apache-2.0
"""Cross entropy (Eq. 1, as a mean over voxels)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Return -log softmax(logits)[label], mean over batch and voxels.

    Parameters
    ----------
    logits : Tensor, shape (B, K, ...)
        Logits, or the logarithm of fused probabilities, of which the softmax is those probabilities.
    label : Tensor of int64, shape (B, ...)
        Class of each voxel.
    """
    return functional.cross_entropy(logits, label)
