# SPDX-License-Identifier: Apache-2.0
"""The inner maximisation of adversarial training (Eq. 8; Madry et al., arXiv 1706.06083)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robust3d.defenses.recipe import AdversarySettings
from robust3d.defenses.sampling import Batch
from robust3d.threat.model import ThreatModel


def perturb(
    network: nn.Module, batch: Batch, threat: ThreatModel, *, steps: int, step_size: float, generator: torch.Generator
) -> Tensor:
    """Return adversarial windows: uniform start in the epsilon-ball, then sign ascent of the cross entropy.

    Parameters
    ----------
    network : nn.Module
        Frozen network in eval mode; maps normalised windows to logits.
    batch : Batch
        Clean windows.
    threat : ThreatModel
        Ball and valid range, in the volume's unit.
    steps : int
        Ascent steps.
    step_size : float
        Step in the volume's unit.
    generator : torch.Generator
        CPU generator of the start, so that every device starts alike.

    Returns
    -------
    Tensor
        Same shape and unit as ``batch.image``.
    """
    noise = torch.rand(batch.image.shape, generator=generator) * 2 - 1
    candidate = threat.project(batch.image + threat.epsilon * noise.to(batch.image.device), batch.image)
    for _ in range(steps):
        candidate.requires_grad_(True)
        loss = cross_entropy(network(batch.normalised(candidate)).float(), batch.label)
        (gradient,) = torch.autograd.grad(loss, candidate)
        candidate = threat.project(candidate.detach() + step_size * gradient.sign(), batch.image)
    return candidate


def ramp(settings: AdversarySettings, iteration: int, iterations: int) -> float:
    """Return the fraction of epsilon and step size in force: linear from 0 to 1 over the warm-up."""
    warmup = settings.warmup * iterations
    return 1.0 if warmup == 0 else min(1.0, (iteration + 1) / warmup)
