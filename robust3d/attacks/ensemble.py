# SPDX-License-Identifier: Apache-2.0
"""SEA-3D: the ensemble of APGD runs on losses that fail in different ways, worst case a case."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from robust3d.attacks.apgd import APGD, warn_if_short
from robust3d.attacks.ascent import GradientAscent
from robust3d.attacks.attack import Adversarial, Attack, Attempt
from robust3d.attacks.objective import Search
from robust3d.losses.registry import check_classes, find_loss
from robust3d.segment.pipeline import Pipeline, Target, Windows
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume


class SEA3D(Attack):
    """Segmentation ensemble attack (Croce et al., arXiv:2306.12941) on the gradient of a whole volume.

    Each member is APGD with one loss on one stage, and PGD with cross entropy is one too, since a few steps of fixed
    size may do better than a schedule that begins with large ones. In the end the loss of the strongest member climbs
    on from its best iterate. The iterate with the lowest DSC of all counts, which is the case-wise worst by
    construction. It has no parameter but its budget.

    Parameters
    ----------
    losses : tuple of str
        One APGD each, in this order: the strongest first saves most.
    targets : tuple of str
        Stages of a cascade that each loss attacks in turn; a single-stage model has one member a loss.
    steps : int
        Gradients a member, and of the climb in the end.
    restarts, check_every, red_eps, gradient, windows
        As for :class:`APGD`.
    enough : float
        DSC from 0 to 1; once a member has brought it to that or below, nothing after it is run.
    """

    algorithm: Literal["sea3d"] = "sea3d"
    losses: tuple[str, ...] = Field(("balanced_masked_ce", "dice", "js", "masked_ce", "margin"), min_length=1)
    targets: tuple[Target, ...] = Field(("c2f",), min_length=1)
    gradient: Literal["window_mean", "fused"] = "fused"
    windows: Windows = "all"
    steps: PositiveInt = 100
    restarts: PositiveInt = 1
    check_every: PositiveInt = 10
    red_eps: bool = False
    enough: float = Field(0.0, ge=0, lt=1)

    @field_validator("losses")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            find_loss(name)
        return names

    def members(self, stages: int) -> list[APGD | GradientAscent]:
        """Return the attacks of the ensemble for a model with 1 or 2 stages."""
        members: list[APGD | GradientAscent] = []
        for target in self.targets if stages > 1 else self.targets[:1]:
            suffix = f"/{target}" if stages > 1 else ""
            members += [self._auto(loss + suffix, loss, target) for loss in self.losses]
            members.append(
                GradientAscent(
                    name="pgd" + suffix,
                    loss="ce",
                    gradient=self.gradient,
                    windows=self.windows,
                    target=target,
                    steps=self.steps,
                    relative_step=0.25,
                    start="uniform",
                    iterate="best",
                    check_every=min(self.steps, 5),
                )
            )
        return members

    def _auto(self, name: str, loss: str, target: Target) -> APGD:
        return APGD(
            name=name,
            loss=loss,
            gradient=self.gradient,
            windows=self.windows,
            target=target,
            steps=self.steps,
            restarts=self.restarts,
            check_every=self.check_every,
            red_eps=self.red_eps,
        )

    @property
    def objective(self) -> str:
        """What is optimised, for listings."""
        return f"{', '.join(self.losses)} and pgd, {self.gradient}, {' and '.join(self.targets)}"

    @property
    def cost(self) -> str:
        """What one case of a cascade costs, for listings."""
        members = self.members(2)
        return f"{len(members) + 1} x ({members[0].cost})"

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse a loss that the classes do not allow; warn where the schedule has too few steps to mean anything."""
        super().check(classes, threat)
        warn_if_short(self.name, self.steps)
        for loss in self.losses:
            check_classes(loss, classes)

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case; ``details`` hold the DSC that each member run reaches, from 0 to 1.

        Raises
        ------
        InputError
            If a loss does not fit the classes, or the case has no label.
        """
        self.check(pipeline.classes, threat)
        attempt = Attempt(pipeline, volume, threat, seed)
        reached: dict[str, float] = {}
        searches: list[Search] = []
        for member in self.members(pipeline.stages):
            search = Search(attempt, member)
            member.explore(search)
            reached[member.name] = search.lowest
            searches.append(search)
            if search.lowest <= self.enough:
                break
        strongest = min(searches, key=lambda search: search.lowest)
        if strongest.lowest > self.enough:
            start, loss, target = strongest.best, strongest.attack.loss, strongest.attack.target
            self._auto("refined", loss, target).refine(strongest, start)
            reached["refined"] = strongest.lowest
        return attempt.result(strongest.best, details={"members": reached})
