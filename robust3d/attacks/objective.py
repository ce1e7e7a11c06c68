# SPDX-License-Identifier: Apache-2.0
"""Objective: what a gradient attack climbs, and the score by which its iterates compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from pydantic import field_validator, model_validator
from torch import Tensor

from robust3d.attacks.attack import Adversarial, Attack, Attempt
from robust3d.attacks.goals import Goal
from robust3d.foundation.errors import InputError
from robust3d.losses.registry import TARGETED, check_classes, find_loss, progress_loss
from robust3d.segment.influence import SHARES
from robust3d.segment.pipeline import Mode, Target, Windows, check_options
from robust3d.threat.model import ThreatModel


class GradientAttack(Attack):
    """Attack that follows the loss gradient of the whole volume.

    Parameters
    ----------
    loss, gradient, windows, target : str
        Passed to :meth:`Pipeline.loss_gradient`.
    goal : Goal or None
        Label map to reach: the loss with it is descended. Without, the loss with the truth is climbed.
    """

    loss: str = "ce"
    gradient: Mode = "window_mean"
    windows: Windows = "all"
    target: Target = "c2f"
    goal: Goal | None = None

    @field_validator("loss")
    @classmethod
    def _known(cls, name: str) -> str:
        find_loss(name)
        return name

    @model_validator(mode="after")
    def _windows_fit_goal(self) -> Self:
        check_options(mode=self.gradient, windows=self.windows, target=self.target, statistics="frozen")
        if self.goal is not None and self.windows not in ("all", *SHARES):
            raise InputError(
                f"attack {self.name}: a goal needs windows = 'all', or those chosen by their slope "
                f"({', '.join(SHARES)}), since it may lie where no organ is"
            )
        if self.goal is not None and self.loss not in TARGETED:
            raise InputError(
                f"attack {self.name}: loss {self.loss!r} spends nothing on voxels that are not yet as the goal wants "
                f"them; use one of {', '.join(TARGETED)}"
            )
        return self

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready hyperparameters, and what identifies a goal that lies in files."""
        return super().settings() | ({} if self.goal is None else self.goal.identity())

    @property
    def objective(self) -> str:
        """What is optimised, for listings."""
        aim = "" if self.goal is None else f", goal {self.goal.kind}"
        return f"{self.loss}, {self.gradient}, {self.target}{aim}"

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse a norm, and a loss that is not defined for the model's number of classes."""
        super().check(classes, threat)
        if self.goal is not None:
            self.goal.check(classes)
        check_classes(self.loss, classes)


class Search:
    """A gradient attack on one case while it runs.

    Parameters
    ----------
    attempt : Attempt
        The case, with costs so far.
    attack : GradientAttack
        Its objective.
    """

    def __init__(self, attempt: Attempt, attack: GradientAttack) -> None:
        self.attempt = attempt
        self.attack = attack
        self.lowest = float("inf")
        self._best: Tensor | None = None
        self._label = attempt.label
        if attack.goal is not None:
            self._label = torch.from_numpy(attack.goal.label(attempt.volume)).to(attempt.label.device)

    @property
    def best(self) -> Tensor:
        """Of the volumes considered the best, or the clean one if there is none."""
        if self._best is None:
            self._best = self.attempt.threat.project(self.attempt.clean, self.attempt.clean)
        return self._best

    def climb(self, candidate: Tensor, progress: float = 0.0, *, judge: bool = False) -> tuple[float, Tensor]:
        """Return the value that the attacker wants high and its gradient.

        Parameters
        ----------
        candidate : Tensor, shape (D1, D2, D3)
            Where.
        progress : float
            (t - 1) / T in step t of T, for losses with a schedule.
        judge : bool
            Whether the value is that of the loss without mask and weights, by which points compare: a voxel that
            flips drops out of a masked loss, whose sum falls (SEA tracks the unmasked loss too).
        """
        attack = self.attack
        objective, unmasked = find_loss(attack.loss, progress), progress_loss(attack.loss)
        judged: list[float] = []

        def watched(logits: Tensor, label: Tensor) -> Tensor:
            judged.append(float(unmasked(logits.detach(), label)))
            return objective(logits, label)

        value, gradient = self.attempt.loss_gradient(
            candidate,
            self._label,
            loss=watched if judge and unmasked is not objective else objective,
            mode=attack.gradient,
            windows=attack.windows,
            target=attack.target,
        )
        if judged:
            # Stages add up; windows are averaged.
            value = sum(judged) if attack.gradient == "fused" else sum(judged) / len(judged)
        return (value, gradient) if attack.goal is None else (-value, -gradient)

    def consider(self, candidate: Tensor) -> None:
        """Keep ``candidate`` if it is the best so far by the DSC of the deployed prediction; costs a query."""
        mask = self.attempt.predict(candidate)
        volume, classes, goal = self.attempt.volume, self.attempt.pipeline.classes, self.attack.goal
        score = self.attempt.dsc(mask) if goal is None else goal.score(mask, volume, classes)
        if score < self.lowest:
            self._best, self.lowest = candidate, score

    def result(self, candidate: Tensor, details: Mapping[str, Any] | None = None) -> Adversarial:
        """Wrap up with figures of the attack's own; with a goal, one more query tells the DSC with it."""
        goal, attempt = self.attack.goal, self.attempt
        figures = dict(details or {})
        if goal is not None:
            figures |= goal.figures(attempt.predict(candidate), attempt.volume, attempt.pipeline.classes)
        return attempt.result(candidate, bounded=self.attack.bounded, details=figures)
