# SPDX-License-Identifier: Apache-2.0
"""Adversarial training on SegPGD (Gu et al., arXiv 2207.12391, Eq. 5), every window attacked."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from robust3d.defenses.adversary import MultiStepAdversary, Step
from robust3d.defenses.ascent import ascend, uniform_start
from robust3d.losses.cross_entropy import balanced_cross_entropy


class SegPgd(MultiStepAdversary):
    """PGD whose weight moves from the voxels still right to those already wrong, lambda_t = (t - 1) / (2 T)."""

    algorithm: Literal["segpgd"]

    def attacked(self, step: Step) -> Tensor:
        """Return the windows after all steps."""
        with step.learner.autocast():
            return ascend(
                step.learner.frozen(),
                step.batch,
                step.threat,
                uniform_start(step.batch, step.threat, step.draws),
                steps=self.steps,
                step_size=self.step_size * step.strength,
                loss=lambda logits, progress: balanced_cross_entropy(logits, step.batch.label, wrong=progress / 2),
            )
