# SPDX-License-Identifier: Apache-2.0
"""What every adversary of training shares: its keys in cards, its schedule, and what it gives to be minimised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationInfo, field_validator
from torch import Tensor

from robust3d.defenses.batch import Batch
from robust3d.defenses.draws import Draws
from robust3d.defenses.learner import Learner
from robust3d.foundation.cards import Card
from robust3d.foundation.errors import nearest
from robust3d.threat.model import ThreatModel
from robust3d.threat.settings import UNITS


@dataclass(frozen=True)
class Step:
    """One iteration, as an adversary sees it.

    Parameters
    ----------
    learner : Learner
        The network in training.
    batch : Batch
        Clean windows.
    threat : ThreatModel
        Ball and valid range at the strength in force.
    strength : float
        Fraction of epsilon in force, above 0 and at most 1.
    draws : Draws
        Random numbers of this iteration.
    """

    learner: Learner
    batch: Batch
    threat: ThreatModel
    strength: float
    draws: Draws


class Adversary(Card, ABC):
    """Settings of an adversary, as the section ``adversary`` of a recipe holds them.

    A subclass adds ``algorithm``, a literal by which cards choose it, and its own keys.
    """

    model_config = Card.model_config | {"allow_inf_nan": False}

    epsilon: NonNegativeFloat
    unit: str
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the iterations over which epsilon and step size grow linearly to their full values."""
    clean_start: float | None = Field(default=None, gt=0, lt=1)
    """Fraction of the iterations, before the warm-up, that train on clean windows."""

    @field_validator("unit")
    @classmethod
    def _known_unit(cls, unit: str) -> str:
        if unit not in UNITS["linf"]:
            raise ValueError(f"unknown unit; {nearest(unit, UNITS['linf'])}")
        return unit

    @field_validator("clean_start")
    @classmethod
    def _leave_full_strength(cls, clean_start: float | None, info: ValidationInfo) -> float | None:
        warmup = info.data.get("warmup", 0.0)
        if clean_start is not None and clean_start + warmup >= 1:
            raise ValueError(f"with warmup {warmup:g} no iteration is left at full epsilon; their sum must be below 1")
        return clean_start

    def strength(self, iteration: int, iterations: int) -> float:
        """Return the fraction of epsilon in force: 0 in the clean start, then linear to 1 over the warm-up."""
        begun = iteration + 1 - (self.clean_start or 0.0) * iterations
        warmup = self.warmup * iterations
        return min(1.0, max(0.0, begun / warmup)) if warmup else float(begun > 0)

    def threat(self, valid: tuple[float, float] | None, strength: float = 1.0) -> ThreatModel:
        """Return the threat model at a fraction of the full epsilon."""
        return ThreatModel(norm="linf", epsilon=self.epsilon * strength, unit=self.unit, valid=valid)

    @property
    @abstractmethod
    def passes(self) -> float:
        """Forward and backward passes for one update of the weights; natural training has 1."""

    @abstractmethod
    def attacked(self, step: Step) -> Tensor:
        """Return perturbed windows, shape and unit of ``step.batch.image``; nothing of the learner changes."""

    def objectives(self, step: Step) -> Iterator[Tensor]:
        """Yield what to minimise; the engine differentiates each scalar and updates the weights before the next."""
        yield step.learner.supervised(step.batch, self.attacked(step))[0]

    @property
    def single_step(self) -> bool:
        """Whether each update trains on windows one step away, which the network may learn to hide from."""
        return False

    @property
    def validation_steps(self) -> int:
        """Steps of the PGD that validates."""
        return 10

    @property
    def validation_step_size(self) -> float:
        """Its step size, in the volume's unit."""
        return self.epsilon / 3


class MultiStepAdversary(Adversary, ABC):
    """Settings of an adversary that takes several steps; validation takes twice as many."""

    epsilon: PositiveFloat
    step_size: PositiveFloat
    steps: PositiveInt

    @property
    def passes(self) -> float:
        """One a step and that of the update."""
        return self.steps + 1

    @property
    def validation_steps(self) -> int:
        """Twice those of training, so that training cannot just fit its own attack."""
        return 2 * self.steps

    @property
    def validation_step_size(self) -> float:
        """That of training."""
        return self.step_size
