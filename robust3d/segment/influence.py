# SPDX-License-Identifier: Apache-2.0
"""Fewer windows for the same attack: those in which the objective can change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from robust3d.segment.fusion import Fusion
from robust3d.segment.grid import Corner
from robust3d.segment.windows import WindowPlan

SHARES: Mapping[str, float] = MappingProxyType({"influential": 0.98, "decisive": 0.8, "leading": 0.15})
"""Share of the objective's slope that the chosen windows hold between them, by name of the choice.

Results tell the name alone: another share needs another name.
"""


def influence(fusion: Fusion, fused: Tensor, cotangent: Tensor) -> Tensor:
    """Return how steeply the loss changes with the logits of each voxel: |dL/dz|, summed over classes.

    Parameters
    ----------
    fusion : Fusion
        What was fused.
    fused, cotangent : Tensor, shape (K, *padded shape)
        Fused logits or log-probabilities, and the derivative of the loss by them.

    Returns
    -------
    Tensor, padded shape
        Exact for a single window, an estimate where several overlap.
    """
    if fusion.kind != "logits":
        cotangent = cotangent - torch.softmax(fused, dim=0) * cotangent.sum(dim=0, keepdim=True)
    return cotangent.abs().sum(dim=0)


def windows_with_share(plan: WindowPlan, slope: Tensor, weights: Tensor, coverage: Tensor, share: float) -> WindowPlan:
    """Return the fewest windows that hold ``share`` of the slope between them, in the order of ``plan``.

    A voxel's slope is divided among the windows over it by their fusion weights; so the windows left out could change
    the gradient by ``1 - share`` of its mass before the network's backward pass.

    Parameters
    ----------
    plan : WindowPlan
        Windows to choose from.
    slope : Tensor, padded shape
        From :func:`influence`.
    weights : Tensor, window shape
        Fusion weights of a window.
    coverage : Tensor, padded shape
        Their sum over all windows.
    share : float
        Of the slope, above 0 and at most 1.
    """
    divided = slope.double() / coverage
    scores = torch.stack([(divided[plan.place(corner)] * weights).sum() for corner in plan.corners])
    order = scores.argsort(descending=True, stable=True)
    reached = scores[order].cumsum(0)
    needed = int((reached < share * reached[-1]).sum()) + 1
    chosen = set(order[:needed].tolist())
    kept: Sequence[Corner] = [corner for index, corner in enumerate(plan.corners) if index in chosen]
    return WindowPlan(plan.shape, plan.window, kept)
