# SPDX-License-Identifier: Apache-2.0
"""Kullback-Leibler divergence between two predictions (TRADES, arXiv:1901.08573, Eq. 3)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import log_softmax


def kl_divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """Return KL(softmax(reference) || softmax(logits)), mean over voxels.

    Parameters
    ----------
    logits, reference : Tensor, shape (B, K, ...)
        Predictions of the perturbed and of the clean input, as logits or log-probabilities.
    """
    clean, perturbed = log_softmax(reference, dim=1), log_softmax(logits, dim=1)
    return (clean.exp() * (clean - perturbed)).sum(dim=1).mean()
