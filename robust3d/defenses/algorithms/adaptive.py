# SPDX-License-Identifier: Apache-2.0
"""An epsilon for each window: its ball grows until its prediction has fallen (Zhang et al., arXiv:2002.11242)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from robust3d.defenses.adversary import MultiStepAdversary, Step
from robust3d.defenses.ascent import uniform_start


class Adaptive(MultiStepAdversary):
    """PGD in a ball of epsilon t / T in step t of T, which ends for a window once its DSC is below a bound.

    Where the paper stops at a wrong class, a segmentation has voxels wrong at once, so its DSC decides. It does not
    judge a window whose label is empty; that one is attacked to the full epsilon.
    """

    algorithm: Literal["adaptive"]
    until_dsc: float = Field(gt=0, lt=1)
    """Foreground DSC of a window, from 0 to 1, below which its perturbation no longer grows."""

    def attacked(self, step: Step) -> Tensor:
        """Return each window at the epsilon that it came to."""
        network, batch = step.learner.frozen(), step.batch
        balls = [replace(step.threat, epsilon=step.threat.epsilon * (t + 1) / self.steps) for t in range(self.steps)]
        candidate = uniform_start(batch, balls[0], step.draws)
        standing = torch.ones(len(candidate), dtype=torch.bool, device=candidate.device)
        for ball in balls:
            candidate.requires_grad_(True)
            with step.learner.autocast():
                logits = network(batch.normalised(candidate)).float()
            (gradient,) = torch.autograd.grad(cross_entropy(logits, batch.label), candidate)
            standing &= self._stands(logits.detach(), batch.label)
            candidate = candidate.detach()
            moved = ball.project(candidate + self.step_size * step.strength * gradient.sign(), batch.image)
            candidate = torch.where(standing.view(-1, 1, 1, 1, 1), moved, candidate)
        return candidate

    def _stands(self, logits: Tensor, label: Tensor) -> Tensor:
        predicted, labelled = (logits.argmax(dim=1) > 0).flatten(1), (label > 0).flatten(1)
        size = predicted.sum(1) + labelled.sum(1)
        dsc = 2 * (predicted & labelled).sum(1) / size.clamp_min(1)
        return (dsc >= self.until_dsc) | ~labelled.any(1)
