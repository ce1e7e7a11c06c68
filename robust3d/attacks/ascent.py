# SPDX-License-Identifier: Apache-2.0
"""Projected gradient ascent: FGSM (Eq. 6), I-FGSM (Eq. 7), PGD, and with other losses and updates SegPGD to DAG."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor

from robust3d.attacks.attack import Adversarial, Attempt, spending
from robust3d.attacks.objective import GradientAttack, Search
from robust3d.attacks.step import Step
from robust3d.attacks.updates import UPDATES, UpdateName
from robust3d.foundation.errors import InputError
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.threat.settings import UNITS
from robust3d.volume.volume import Volume


class GradientAscent(Step, GradientAttack):
    """X_{k+1} = project(X_k + step direction(grad L(X_k))).

    Parameters
    ----------
    steps : int
        Number of steps N.
    step_size, step_unit, relative_step
        As for :class:`Step`.
    start : str
        ``"clean"``, or ``"uniform"`` in the epsilon-ball.
    restarts : int
        Independent starts, of which the one with the lowest DSC counts.
    update : str
        ``"steepest"`` (the sign for ``linf``), ``"momentum"`` (MI-FGSM), ``"nesterov"`` (NI-FGSM), ``"amsgrad"``,
        ``"max_normalised"`` (DAG).
    decay : float
        Decay mu of the accumulated gradient of the two momentum rules.
    iterate : str
        ``"last"``, or ``"best"``: lowest DSC of the stitched prediction among the iterates checked.
    check_every : int or None
        Steps between two such checks, 1 by default; the last iterate is always checked.
    """

    algorithm: Literal["gradient_ascent"] = "gradient_ascent"
    steps: PositiveInt
    start: Literal["clean", "uniform"] = "clean"
    restarts: PositiveInt = 1
    update: UpdateName = "steepest"
    decay: NonNegativeFloat | None = None
    iterate: Literal["last", "best"] = "last"
    check_every: PositiveInt | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.check_step(self.name)
        if self.restarts > 1 and self.start == "clean":
            raise InputError(f"attack {self.name}: restarts from the clean volume are all alike; use start = 'uniform'")
        if self.check_every is not None and self.iterate == "last":
            raise InputError(f"attack {self.name}: check_every has no effect with iterate = 'last'; leave it out")
        if (self.decay is None) == (self.update in ("momentum", "nesterov")):
            raise InputError(
                f"attack {self.name}: updates 'momentum' and 'nesterov' need a decay, the others have none"
            )
        return self

    @property
    def norms(self) -> tuple[str, ...]:
        """Norms of the threat models that it serves: those of the step's unit, if it has one, and of the update."""
        if self.update in ("amsgrad", "max_normalised"):
            return ("linf",)
        return tuple(norm for norm, units in UNITS.items() if self.step_unit is None or self.step_unit in units)

    @property
    def cost(self) -> str:
        """What one case costs, for listings."""
        total = self.restarts * self.steps
        checks = -(-self.steps // (self.check_every or 1)) if self.iterate == "best" else int(self.restarts > 1)
        return spending(total, self.restarts * checks)

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse a step in another unit than the threat model's, and a loss that the classes do not allow."""
        self.check_unit(self.name, threat)
        super().check(classes, threat)

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case.

        Raises
        ------
        InputError
            If the step's unit is not the threat's, or the case has no label.
        """
        self.check(pipeline.classes, threat)
        attempt = Attempt(pipeline, volume, threat, seed)
        search = Search(attempt, self)
        last = self.explore(search)
        return search.result(last if self.iterate == "last" and self.restarts == 1 else search.best)

    def explore(self, search: Search) -> Tensor:
        """Run all restarts and return the last iterate; ``search`` keeps the best one where it is asked for."""
        attempt, threat = search.attempt, search.attempt.threat
        candidate = attempt.clean
        every = self.check_every or 1
        for restart in range(self.restarts):
            candidate = self._first(attempt, restart)
            update = UPDATES[self.update](threat, self.decay or 0.0)
            for number in range(self.steps):
                step = self.step(threat)
                direction = update.direction(search.climb(update.ahead(candidate, step), number / self.steps)[1])
                # In place: of a clinical volume, each copy takes half a gigabyte.
                candidate = threat.project(direction.mul_(step).add_(candidate), attempt.clean)
                if self.iterate == "best" and (number + 1) % every == 0 and number + 1 < self.steps:
                    search.consider(candidate)
            if self.iterate == "best" or self.restarts > 1:
                search.consider(candidate)
        return candidate

    def _first(self, attempt: Attempt, restart: int) -> Tensor:
        threat, clean = attempt.threat, attempt.clean
        start = threat.origin(clean)
        if self.start == "uniform":
            start = start + threat.noise(clean, attempt.generator(restart))
        return threat.project(start, clean)
