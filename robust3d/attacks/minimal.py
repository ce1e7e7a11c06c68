# SPDX-License-Identifier: Apache-2.0
"""Minimal-norm attack: the smallest epsilon at which an attack brings the DSC below a threshold, by bisection."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from robust3d.attacks.apgd import APGD
from robust3d.attacks.ascent import GradientAscent
from robust3d.attacks.attack import Adversarial, Attack, Attempt, spending
from robust3d.attacks.ensemble import SEA3D
from robust3d.foundation.errors import InputError
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume


class MinimalNorm(Attack):
    """Bisects epsilon between 0 and that of the threat model, with another attack at each.

    The epsilon found is an upper bound of the smallest one, as strong as the attack inside; attacks are not exactly
    monotone in epsilon, so bisection may miss a smaller one.

    Parameters
    ----------
    inner : Attack
        Attack run at each epsilon.
    threshold : float
        DSC to fall below, from 0 to 1.
    halvings : int
        Bisection steps: epsilon is found to ``2 ** -halvings`` of the threat model's.
    """

    algorithm: Literal["minimal_norm"] = "minimal_norm"
    inner: Annotated[GradientAscent | APGD | SEA3D, Field(discriminator="algorithm")]
    threshold: float = Field(0.1, gt=0, le=1)
    halvings: PositiveInt = 5

    @model_validator(mode="after")
    def _untargeted(self) -> Self:
        if getattr(self.inner, "goal", None) is not None:
            raise InputError(f"attack {self.name}: its threshold is a DSC with the truth; leave out inner.goal")
        return self

    @property
    def norms(self) -> tuple[str, ...]:
        """Norms of the attack inside."""
        return self.inner.norms

    @property
    def objective(self) -> str:
        """What the attack inside optimises."""
        return self.inner.objective

    @property
    def cost(self) -> str:
        """What one case costs, for listings."""
        trials = 1 + self.halvings
        return f"{trials} x ({self.inner.cost}), {spending(predictions=1 + trials)}"

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse what the attack inside refuses."""
        self.inner.check(classes, threat)

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case.

        ``details`` hold ``minimal_epsilon`` in the threat's unit: 0 if the clean prediction is below the threshold
        already, ``None`` if the attack fails at the threat model's epsilon, whose volume is then returned.
        """
        self.check(pipeline.classes, threat)
        attempt = Attempt(pipeline, volume, threat, seed)
        inner = self.inner
        if isinstance(inner, SEA3D):
            # Once the DSC is below the threshold, no lower one is asked for.
            inner = inner.model_copy(update={"enough": math.nextafter(self.threshold, 0.0)})
        best = threat.project(attempt.clean, attempt.clean)
        low, high = 0.0, threat.epsilon
        found = 0.0 if self._falls(attempt, best) else None
        trials = 0 if found == 0.0 or threat.epsilon == 0 else 1 + self.halvings
        for number in range(trials):
            epsilon = high if number == 0 else (low + high) / 2
            result = inner(pipeline, volume, replace(threat, epsilon=epsilon), seed)
            attempt.add_cost(result)
            candidate = torch.from_numpy(result.volume.image).to(attempt.clean)
            if self._falls(attempt, candidate):
                best, found, high = candidate, epsilon, epsilon
            elif number == 0:
                best = candidate
                break
            else:
                low = epsilon
        return attempt.result(best, details={"minimal_epsilon": found, "threshold": self.threshold})

    def _falls(self, attempt: Attempt, candidate: Tensor) -> bool:
        return attempt.dsc(attempt.predict(candidate)) < self.threshold
