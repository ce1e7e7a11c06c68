# SPDX-License-Identifier: Apache-2.0
"""Free adversarial training: one backward pass serves weights and windows (Shafahi et al., arXiv 1904.12843)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from robust3d.defenses.adversary import Adversary, Step
from robust3d.defenses.ascent import ascend


class Free(Adversary):
    """The same windows are trained on several times; each replay's gradient also moves their perturbation by epsilon.

    All replays of a batch are one iteration, so nothing is kept from one iteration to the next. Where the paper begins
    with the perturbation of the batch before, this takes one step of FGSM: one replay is FGSM training.
    """

    algorithm: Literal["free"]
    epsilon: PositiveFloat
    replays: PositiveInt
    """Weight updates an iteration, m in the paper."""

    @property
    def passes(self) -> float:
        """One an update, and the first step's shared by all replays."""
        return 1 + 1 / self.replays

    @property
    def single_step(self) -> bool:
        """It is."""
        return True

    def attacked(self, step: Step) -> Tensor:
        """Return the windows of the first replay."""
        with step.learner.autocast():
            return ascend(
                step.learner.frozen(),
                step.batch,
                step.threat,
                step.batch.image,
                steps=1,
                step_size=step.threat.epsilon,
            )

    def objectives(self, step: Step) -> Iterator[Tensor]:
        """Yield the supervised loss of each replay."""
        image = self.attacked(step)
        for replay in range(self.replays):
            last = replay == self.replays - 1
            image.requires_grad_(not last)
            yield step.learner.supervised(step.batch, image)[0]
            # The engine's backward pass for the weights has left this one.
            if not last and image.grad is not None:
                moved = image.detach() + step.threat.epsilon * image.grad.sign()
                image = step.threat.project(moved, step.batch.image)
