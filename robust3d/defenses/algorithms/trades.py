# SPDX-License-Identifier: Apache-2.0
"""TRADES: accuracy on clean windows plus beta times the divergence under attack (Zhang et al., arXiv 1901.08573)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from robust3d.defenses.adversary import MultiStepAdversary, Step
from robust3d.defenses.ascent import ascend
from robust3d.losses.divergence import kl_divergence

_START = 0.001 * 255 / 8
"""Standard deviation of the start in epsilons, from the paper's 0.001 at 8/255; at the clean windows themselves the
divergence has no gradient."""


class Trades(MultiStepAdversary):
    """Supervised loss of the clean windows + beta KL(clean || attacked), Algorithm 1; the attack climbs the divergence.

    The divergence is a mean over voxels. The paper's code sums it over all outputs of a sample; there the same beta
    would weigh it by the number of voxels.
    """

    algorithm: Literal["trades"]
    beta: PositiveFloat

    @property
    def passes(self) -> float:
        """One a step and two of the update, on clean and attacked windows; one forward pass more is not counted."""
        return self.steps + 2

    def attacked(self, step: Step) -> Tensor:
        """Return windows whose prediction diverges from the clean one."""
        network, batch, threat = step.learner.frozen(), step.batch, step.threat
        noise = _START * threat.epsilon * step.draws.normal(batch.image)
        start = threat.project(batch.image + noise, batch.image)
        with step.learner.autocast():
            with torch.no_grad():
                clean = network(batch.normalised(batch.image)).float()
            return ascend(
                network,
                batch,
                threat,
                start,
                steps=self.steps,
                step_size=self.step_size * step.strength,
                loss=lambda logits, _: kl_divergence(logits, clean),
            )

    def objectives(self, step: Step) -> Iterator[Tensor]:
        """Yield the sum of both terms."""
        image = self.attacked(step)
        supervised, clean = step.learner.supervised(step.batch, step.batch.image)
        yield supervised + self.beta * kl_divergence(step.learner.logits(step.batch, image), clean)
