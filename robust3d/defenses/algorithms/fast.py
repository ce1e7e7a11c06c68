# SPDX-License-Identifier: Apache-2.0
"""Fast adversarial training: one step from a uniform start (Wong et al., arXiv 2001.03994, Algorithm 3)."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat
from torch import Tensor

from robust3d.defenses.adversary import Adversary, Step
from robust3d.defenses.ascent import perturb

_STEP = 1.25
"""Step size in epsilons."""


class Fast(Adversary):
    """One sign step of 1.25 epsilon from a uniform start, projected."""

    algorithm: Literal["fast"]
    epsilon: PositiveFloat

    @property
    def passes(self) -> float:
        """That of the attack and that of the update."""
        return 2

    @property
    def single_step(self) -> bool:
        """It is."""
        return True

    def attacked(self, step: Step) -> Tensor:
        """Return the windows after the step."""
        with step.learner.autocast():
            return perturb(
                step.learner.frozen(),
                step.batch,
                step.threat,
                steps=1,
                step_size=_STEP * step.threat.epsilon,
                draws=step.draws,
            )
