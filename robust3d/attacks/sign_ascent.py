# SPDX-License-Identifier: Apache-2.0
"""Steps along the sign of the loss gradient: FGSM (Eq. 6), I-FGSM (Eq. 7) and PGD (arXiv 1706.06083)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from robust3d.attacks.attack import Adversarial, Attempt
from robust3d.foundation.errors import InputError
from robust3d.losses.registry import find_loss
from robust3d.segment.pipeline import Mode, Pipeline, Target, Windows
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume


@dataclass(frozen=True, kw_only=True)
class SignAscent:
    """X_{k+1} = project(X_k + step sign(grad L(X_k))).

    Parameters
    ----------
    name : str
        Name in results.
    steps : int
        Number of steps N.
    step_size : float or None
        Step alpha in ``step_unit``, whatever epsilon is.
    step_unit : str or None
        Unit of ``step_size``; the threat model must have the same.
    relative_step : float or None
        Step as a fraction of epsilon; give this or ``step_size``.
    start : str
        ``"clean"``, or ``"uniform"`` in the epsilon-ball.
    restarts : int
        Independent starts, of which the one with the lowest DSC counts.
    loss, gradient, windows, target : str
        Passed to :meth:`Pipeline.loss_gradient`.
    iterate : str
        ``"last"``, or ``"best"``: lowest DSC of the stitched prediction among the iterates checked.
    check_every : int
        Steps between two such checks; the last iterate is always checked.
    """

    name: str
    steps: int
    step_size: float | None = None
    step_unit: str | None = None
    relative_step: float | None = None
    start: Literal["clean", "uniform"] = "clean"
    restarts: int = 1
    loss: str = "ce"
    gradient: Mode = "window_mean"
    windows: Windows = "all"
    target: Target = "c2f"
    iterate: Literal["last", "best"] = "last"
    check_every: int = 1

    def __post_init__(self) -> None:
        find_loss(self.loss)
        if (self.step_size is None) == (self.relative_step is None):
            raise InputError(f"attack {self.name}: give either step_size with step_unit, or relative_step")
        if self.step_size is not None and self.step_unit is None:
            raise InputError(f"attack {self.name}: step_size {self.step_size:g} has no unit; add step_unit")
        if min(self.steps, self.restarts, self.check_every) < 1:
            raise InputError(f"attack {self.name}: steps, restarts and check_every must be at least 1")
        if self.restarts > 1 and self.start == "clean":
            raise InputError(f"attack {self.name}: restarts from the clean volume are all alike; use start = 'uniform'")

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready hyperparameters."""
        return {"algorithm": "sign_ascent", **asdict(self)}

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case.

        Raises
        ------
        InputError
            If the step's unit is not the threat's, or the case has no label.
        """
        if self.step_size is not None and self.step_unit != threat.unit:
            raise InputError(f"attack {self.name} steps in {self.step_unit} and the threat model is in {threat.unit}")
        attempt = Attempt(pipeline, volume, threat, seed)
        best, lowest = attempt.clean, float("inf")
        compare = self.restarts > 1 or self.iterate == "best"
        for restart in range(self.restarts):
            candidate = self._first(attempt, restart)
            for number in range(1, self.steps + 1):
                candidate = self._step(attempt, candidate)
                last = number == self.steps
                if compare and (last or (self.iterate == "best" and number % self.check_every == 0)):
                    score = attempt.dsc(candidate)
                    if score < lowest:
                        best, lowest = candidate, score
                elif last:
                    best = candidate
        return attempt.result(best)

    def _first(self, attempt: Attempt, restart: int) -> Tensor:
        start = attempt.threat.origin(attempt.clean)
        if self.start == "uniform":
            noise = torch.rand(start.shape, generator=attempt.generator(restart)) * 2 - 1
            start = start + attempt.threat.epsilon * noise.to(start.device)
        return attempt.threat.project(start, attempt.clean)

    def _step(self, attempt: Attempt, candidate: Tensor) -> Tensor:
        threat = attempt.threat
        gradient = attempt.loss_gradient(
            candidate, loss=self.loss, mode=self.gradient, windows=self.windows, target=self.target
        )
        step = self.step_size if self.step_size is not None else (self.relative_step or 0.0) * threat.epsilon
        return threat.project(candidate + step * gradient.sign(), attempt.clean)
