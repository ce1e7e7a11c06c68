# SPDX-License-Identifier: Apache-2.0
"""Adversarial training on PGD, the inner maximisation of Eq. 8 (Madry et al., arXiv 1706.06083)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from robust3d.defenses.adversary import MultiStepAdversary, Step
from robust3d.defenses.ascent import perturb


class Pgd(MultiStepAdversary):
    """Uniform start, then sign steps up the cross entropy."""

    algorithm: Literal["pgd"]

    def attacked(self, step: Step) -> Tensor:
        """Return the windows after all steps."""
        with step.learner.autocast():
            return perturb(
                step.learner.frozen(),
                step.batch,
                step.threat,
                steps=self.steps,
                step_size=self.step_size * step.strength,
                draws=step.draws,
            )
