# SPDX-License-Identifier: Apache-2.0
"""Overlapping regions, one sigmoid each, as classes: nnU-Net's rule that the last region with p > 0.5 wins."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class WithBackground(nn.Module):
    """A network of regions with a channel of zeros before them, so that there are as many channels as classes.

    Parameters
    ----------
    network : nn.Module
        Returns one logit a region.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        """Map ``(B, 1, d, h, w)`` to ``(B, 1 + R, d, h, w)``."""
        regions = self.network(windows)
        return torch.cat([torch.zeros_like(regions[:, :1]), regions], dim=1)


def class_scores(regions: Tensor, order: Sequence[int], *, dim: int) -> Tensor:
    """Return scores of classes of which the largest is that of nnU-Net's rule.

    A voxel gets class ``order[i]`` of the last region i with a logit z_i above 0, and background without one. The score
    of region i is min(z_i, -z_j for all j > i), that of background min(-z_j for all j): one alone is positive.

    Parameters
    ----------
    regions : Tensor
        1 + R channels along ``dim``, the first of them unused; see :class:`WithBackground`.
    order : sequence of int
        Class of each region: the numbers 1 to R in any order.
    dim : int
        Axis of the channels.

    Returns
    -------
    Tensor
        Same shape; the channels are background and classes 1 to R. Differentiable.
    """
    logits = regions.unbind(dim)[1:]
    scores: list[Tensor] = [logits[0]] * (len(order) + 1)
    largest: Tensor | None = None
    for logit, target in zip(reversed(logits), reversed(order), strict=True):
        scores[target] = logit if largest is None else torch.minimum(logit, -largest)
        largest = logit if largest is None else torch.maximum(logit, largest)
    scores[0] = -largest if largest is not None else scores[0]
    return torch.stack(scores, dim)
