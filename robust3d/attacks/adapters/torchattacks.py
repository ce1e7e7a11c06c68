# SPDX-License-Identifier: Apache-2.0
"""Attacks of torchattacks (Kim, arXiv:2010.01950) on whole volumes."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
from pydantic import PositiveInt, field_validator, model_validator

from robust3d.attacks.adapters.fields import check_fields
from robust3d.attacks.adapters.libraries import check_alike, check_attack, library_version, load, require
from robust3d.attacks.adapters.refusals import TORCHATTACKS
from robust3d.attacks.adapters.whole_volume import WholeVolumeModel
from robust3d.attacks.attack import Adversarial, Attack, Attempt, spending
from robust3d.attacks.step import Step
from robust3d.foundation.errors import InputError
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.channels import as_image
from robust3d.volume.labels import IGNORE
from robust3d.volume.volume import Volume

ALLOWED: dict[str, tuple[str, ...]] = {
    "FGSM": (),
    "BIM": ("step", "steps"),
    "PGD": ("step", "steps", "start"),
    "RFGSM": ("step", "steps"),
    "FFGSM": ("step",),
    "EOTPGD": ("step", "steps", "start", "eot_iter"),
    "TPGD": ("step", "steps"),
    "PGDL2": ("step", "steps", "start"),
}
"""Attacks that are right on one volume ``(1, C, D1, D2, D3)`` with a label map, and the fields that each needs."""

_SMALLEST = 1e-12
"""Epsilon in [0, 1] units in place of 0, with which PGDL2 divides 0 by 0; far below float32 near 1."""


class TorchattacksAttack(Step, Attack):
    """An attack of torchattacks.

    The library sees :class:`WholeVolumeModel`: the fused prediction of the volume mapped from the valid range to
    [0, 1], and climbs its mean cross entropy (TPGD: the divergence from the clean prediction) on the exact gradient.
    The result is mapped back and projected, since float32 leaves the bound by a rounding.

    Of a cascade the coarse stage is attacked, the only one that predicts the whole volume, and the result counts by
    the full cascade, as in the chapter. Random numbers are the library's, drawn on the device of the model: equal
    seeds give equal volumes on equal devices.

    Parameters
    ----------
    attack : str
        Class of the library.
    steps : int
        Number of steps N.
    start : str or None
        ``"clean"``, or ``"uniform"``, the library's ``random_start``, for attacks that have the choice.
    eot_iter : int or None
        Gradients averaged a step (EOTPGD).
    target : str
        ``"coarse"``.
    """

    algorithm: Literal["torchattacks"] = "torchattacks"
    attack: str
    steps: PositiveInt = 1
    start: Literal["clean", "uniform"] | None = None
    eot_iter: PositiveInt | None = None
    target: str = "coarse"

    @field_validator("attack")
    @classmethod
    def _allowed(cls, attack: str) -> str:
        check_attack("torchattacks", attack, ALLOWED, TORCHATTACKS)
        return attack

    @field_validator("target")
    @classmethod
    def _whole(cls, target: str) -> str:
        if target != "coarse":
            raise InputError(
                f"torchattacks needs logits of the whole volume, which target {target!r} has not; use target = "
                "'coarse', or algorithm = 'art' or 'gradient_ascent'"
            )
        return target

    @model_validator(mode="after")
    def _complete(self) -> Self:
        check_fields(self, f"torchattacks {self.attack}", ALLOWED[self.attack], optional=("start", "eot_iter"))
        return self

    @property
    def norms(self) -> tuple[str, ...]:
        """Norms of threat models that it serves."""
        return ("l2",) if self.attack == "PGDL2" else ("linf",)

    @property
    def objective(self) -> str:
        """What is optimised, for listings."""
        return f"{'kl' if self.attack == 'TPGD' else 'ce'}, fused, {self.target}"

    @property
    def cost(self) -> str:
        """What one case costs, for listings."""
        return spending(self.steps * (self.eot_iter or 1), int(self.attack == "TPGD"))

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse a threat model of another norm or unit or without a valid range, and a missing library."""
        require("torchattacks")
        super().check(classes, threat)
        self.check_unit(self.name, threat)
        _valid(threat)

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case.

        A prediction of which the gradient is taken counts as that gradient, as in our own attacks; the others
        (TPGD's clean one) count as queries.

        Raises
        ------
        InputError
            If the library is missing, or the threat model or case is not what the attack needs.
        """
        self.check(pipeline.classes, threat)
        attempt = Attempt(pipeline, volume, threat, seed)
        origin = threat.origin(attempt.clean)
        low, high = _valid(threat)
        model = WholeVolumeModel(attempt.frozen, attempt.label, (low, high))
        unit = model.to_unit(origin)
        attack = getattr(load("torchattacks"), self.attack)(model, **self._arguments(threat, origin.numel()))
        # nn.CrossEntropyLoss ignores -100.
        label = attempt.label.long().masked_fill(attempt.label == IGNORE, -100)[None]
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.enable_grad():
            torch.manual_seed(attempt.generator().initial_seed())
            moved = attack(unit, label)
        attempt.gradients = model.backwards
        attempt.queries = model.forwards - model.backwards
        # As a change, so that voxels that do not move keep every bit.
        candidate = threat.project(origin + as_image((moved - unit)[0]) * (high - low), attempt.clean)
        return attempt.result(candidate, details={"library": library_version("torchattacks")})

    def _arguments(self, threat: ThreatModel, voxels: int) -> dict[str, Any]:
        """Return the library's arguments, lengths in [0, 1] units; an L2 norm there is a sum, not a mean."""
        low, high = _valid(threat)
        scale = (math.sqrt(voxels) if threat.norm == "l2" else 1.0) / (high - low)
        arguments: dict[str, Any] = {"eps": max(threat.epsilon * scale, _SMALLEST)}
        if "step" in ALLOWED[self.attack]:
            arguments["alpha"] = self.step(threat) * scale
        if "steps" in ALLOWED[self.attack]:
            arguments["steps"] = self.steps
        if self.start is not None:
            arguments["random_start"] = self.start == "uniform"
        if self.eot_iter is not None:
            arguments["eot_iter"] = self.eot_iter
        return arguments


def _valid(threat: ThreatModel) -> tuple[float, float]:
    check_alike(threat, "torchattacks")
    if threat.valid is None:
        raise InputError(
            "torchattacks clips every volume to [0, 1], so the threat model needs a valid range to map there; give "
            "one, or use algorithm = 'art' or 'gradient_ascent'"
        )
    return threat.valid
