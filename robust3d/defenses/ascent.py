# SPDX-License-Identifier: Apache-2.0
"""Sign ascent on a batch of windows, the step that all inner maximisations share (Madry et al., arXiv 1706.06083)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robust3d.defenses.batch import Batch
from robust3d.defenses.draws import Draws
from robust3d.threat.model import ThreatModel

StepLoss = Callable[[Tensor, float], Tensor]
"""Maps logits ``(B, K, w, w, w)`` and (t - 1) / T in step t of T to the scalar that rises."""


def ascend(
    network: nn.Module,
    batch: Batch,
    threat: ThreatModel,
    start: Tensor,
    *,
    steps: int,
    step_size: float,
    loss: StepLoss | None = None,
) -> Tensor:
    """Return adversarial windows: sign steps up a loss, projected after each.

    Parameters
    ----------
    network : nn.Module
        Frozen network in eval mode; maps normalised windows to logits.
    batch : Batch
        Clean windows.
    threat : ThreatModel
        Ball and valid range, in the volume's unit.
    start : Tensor
        Allowed windows to begin with, shape and unit of ``batch.image``.
    steps : int
        Ascent steps.
    step_size : float
        Step in the volume's unit.
    loss : callable, optional
        Cross entropy with the label by default, mean over voxels.

    Returns
    -------
    Tensor
        Same shape and unit as ``batch.image``.
    """
    candidate = start.detach().clone()
    for step in range(steps):
        candidate.requires_grad_(True)
        logits = network(batch.normalised(candidate)).float()
        value = cross_entropy(logits, batch.label) if loss is None else loss(logits, step / steps)
        (gradient,) = torch.autograd.grad(value, candidate)
        candidate = threat.project(candidate.detach() + step_size * gradient.sign(), batch.image)
    return candidate


def uniform_start(batch: Batch, threat: ThreatModel, draws: Draws) -> Tensor:
    """Return windows drawn uniformly from the ball."""
    return threat.project(batch.image + draws.ball(threat, batch.image), batch.image)


def perturb(
    network: nn.Module, batch: Batch, threat: ThreatModel, *, steps: int, step_size: float, draws: Draws
) -> Tensor:
    """Return adversarial windows of PGD: uniform start, then :func:`ascend` of the cross entropy."""
    start = uniform_start(batch, threat, draws)
    return ascend(network, batch, threat, start, steps=steps, step_size=step_size)
