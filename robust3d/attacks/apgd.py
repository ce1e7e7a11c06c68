# SPDX-License-Identifier: Apache-2.0
"""APGD: projected gradient ascent with momentum that halves its step by itself (Croce & Hein, arXiv:2003.01690)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Literal

from pydantic import PositiveInt
from torch import Tensor

from robust3d.attacks.attack import Adversarial, Attempt, spending
from robust3d.attacks.objective import GradientAttack, Search
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume

_ADVISED_STEPS = 50
_MOMENTUM = 0.75
_RHO = 0.75
_FIRST_STEP = 2.0
"""Of epsilon."""

_RADII = ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4))
"""Epsilon as a multiple of the threat model's, and share of the steps, of red-eps (SEA, arXiv:2306.12941, 3.2)."""


def checkpoints(steps: int) -> list[int]:
    """Return the steps after which APGD judges its progress (Sect. 4.2: w_0 = 0.22 N, shrinking by 0.03 N to 0.06 N).

    Examples
    --------
    >>> checkpoints(50)
    [11, 21, 30, 38, 45]
    """
    length = max(int(0.22 * steps), 1)
    shrink, least = max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)
    places, place = [], length
    while place < steps:
        places.append(place)
        length = max(length - shrink, least)
        place += length
    return places


def warn_if_short(name: str, steps: int) -> None:
    """Warn about fewer than 50 steps."""
    if steps < _ADVISED_STEPS:
        warnings.warn(
            f"attack {name}: with {steps} steps APGD judges its progress over windows of a few steps; "
            f"give it {_ADVISED_STEPS} or more for a claim of robustness",
            stacklevel=3,
        )


class APGD(GradientAttack):
    """Auto-PGD, in the norm of the threat model.

    Each step goes by eta along the steepest direction, then adds momentum: x + 0.75 (z - x) + 0.25 (x - x_before).
    eta starts at 2 epsilon. At a checkpoint it is halved, and the search restarts from the point of highest loss, if
    fewer than 75 % of the steps since the last one raised the loss, or if eta was not halved there and the highest
    loss has not grown since. Of the iterates checked the one with the lowest DSC of the stitched prediction counts,
    while the schedule follows the loss.

    Parameters
    ----------
    steps : int
        Gradients a restart.
    restarts : int
        Uniform random starts.
    check_every : int
        Steps between two checks of the DSC; the last iterate and the one of highest loss are always checked.
    red_eps : bool
        Search first at 2 and 1.5 epsilon, for 30 % of the steps each, and project (SEA); the result is at epsilon.
    """

    algorithm: Literal["apgd"] = "apgd"
    gradient: Literal["window_mean", "fused"] = "fused"
    steps: PositiveInt = 100
    restarts: PositiveInt = 1
    check_every: PositiveInt = 10
    red_eps: bool = False

    @property
    def cost(self) -> str:
        """What one case costs, for listings."""
        # The last iterate and the one of highest loss come on top of the regular checks.
        checks = -(-self.steps // self.check_every) + 1
        return f"{spending(self.restarts * self.steps, self.restarts * checks)} at most"

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse a loss that the classes do not allow; warn where the schedule has too few steps to mean anything."""
        super().check(classes, threat)
        warn_if_short(self.name, self.steps)

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case.

        Raises
        ------
        InputError
            If the loss does not fit the classes, or the case has no label.
        """
        self.check(pipeline.classes, threat)
        attempt = Attempt(pipeline, volume, threat, seed)
        search = Search(attempt, self)
        self.explore(search)
        return search.result(search.best)

    def explore(self, search: Search) -> None:
        """Run all restarts; ``search`` keeps the best iterate."""
        attempt = search.attempt
        for restart in range(self.restarts):
            start = attempt.threat.origin(attempt.clean) + attempt.threat.noise(
                attempt.clean, attempt.generator(restart)
            )
            phases = _RADII if self.red_eps else ((1.0, 1.0),)
            left = self.steps
            for radius, share in phases:
                steps = left if radius == 1.0 else round(share * self.steps)
                left -= steps
                wider = replace(attempt.threat, epsilon=radius * attempt.threat.epsilon)
                start = self._climb(search, wider, wider.project(start, attempt.clean), steps)
            search.consider(attempt.threat.project(start, attempt.clean))

    def refine(self, search: Search, start: Tensor) -> None:
        """Climb on from a point that is good already, with a first step of epsilon / 2."""
        threat = search.attempt.threat
        search.consider(self._climb(search, threat, start, self.steps, 0.5))

    def _climb(
        self, search: Search, threat: ThreatModel, start: Tensor, steps: int, first_step: float = _FIRST_STEP
    ) -> Tensor:
        """Climb within one radius and return the point of highest loss."""
        attempt = search.attempt
        within = threat.epsilon == attempt.threat.epsilon
        eta = first_step * threat.epsilon
        here, before = start, start
        state = _Progress(here)
        ends = set(checkpoints(steps))
        for number in range(steps):
            value, gradient = search.climb(here, number / steps, judge=True)
            state.record(value, here, gradient)
            if number in ends and state.stuck():
                eta /= 2
                here, gradient = state.best, state.gradient
            step = threat.project(here + eta * threat.steepest(gradient), attempt.clean)
            share = _MOMENTUM if number else 1.0
            moved = threat.project(here + share * (step - here) + (1 - share) * (here - before), attempt.clean)
            here, before = moved, here
            if within and ((number + 1) % self.check_every == 0 or number + 1 == steps):
                search.consider(here)
        return state.best


class _Progress:
    """Highest loss so far, and how often it rose since the last checkpoint."""

    def __init__(self, start: Tensor) -> None:
        self.best = self.gradient = start
        self.highest = self._previous = self._at_checkpoint = float("-inf")
        self._rises = self._steps = 0
        self._halved = True

    def record(self, value: float, point: Tensor, gradient: Tensor) -> None:
        """Take in the loss at an iterate; the first one is no rise."""
        if self._previous > float("-inf"):
            self._steps += 1
            self._rises += value > self._previous
        else:
            self._at_checkpoint = value
        self._previous = value
        if value > self.highest:
            self.highest, self.best, self.gradient = value, point, gradient

    def stuck(self) -> bool:
        """Judge a checkpoint: whether the step has to be halved; starts a new window."""
        slow = self._rises <= _RHO * self._steps
        still = not self._halved and self.highest <= self._at_checkpoint
        self._halved = slow or still
        self._at_checkpoint = self.highest
        self._rises = self._steps = 0
        if self._halved:
            self._previous = self.highest
        return self._halved
