# SPDX-License-Identifier: Apache-2.0
"""Attacks of the Adversarial Robustness Toolbox (Nicolae et al., arXiv:1807.01069) on whole volumes."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveInt, field_validator, model_validator
from torch import Tensor

from robust3d.attacks.adapters.fields import check_fields
from robust3d.attacks.adapters.libraries import check_alike, check_attack, library_version, load, require
from robust3d.attacks.adapters.refusals import ART
from robust3d.attacks.attack import Adversarial, Attempt, spending
from robust3d.attacks.objective import GradientAttack, Search
from robust3d.attacks.step import Step
from robust3d.foundation.errors import InputError
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume

ALLOWED: dict[str, tuple[str, ...]] = {
    "FastGradientMethod": (),
    "BasicIterativeMethod": ("step", "steps"),
    "ProjectedGradientDescent": ("step", "steps", "start"),
    "MomentumIterativeMethod": ("step", "steps", "decay"),
}
"""Attacks that are right with an estimator that is no classifier, and the fields that each needs."""

_SMALLEST = 1e-30
"""Length in place of 0, which ART refuses as a step and divides by 0 as an epsilon."""


class ArtAttack(Step, GradientAttack):
    """An attack of ART.

    Its estimator answers with :meth:`Pipeline.loss_gradient`, in the volume's own unit, so every loss, gradient mode
    and stage of a cascade is as in our own attacks, goals included.

    ART starts anything but a classifier at the clean volume only, and projects to the ball around where it starts.
    With ``start = "uniform"`` the start and the projection are therefore ours, and each step is one call of ART.

    Parameters
    ----------
    attack : str
        Class of ``art.attacks.evasion``.
    steps : int
        Number of steps N.
    start : str or None
        ``"clean"`` or ``"uniform"`` in the epsilon-ball (ProjectedGradientDescent).
    decay : float or None
        Decay mu of the accumulated gradient (MomentumIterativeMethod).
    """

    algorithm: Literal["art"] = "art"
    attack: str
    steps: PositiveInt = 1
    start: Literal["clean", "uniform"] | None = None
    decay: NonNegativeFloat | None = None

    @field_validator("attack")
    @classmethod
    def _allowed(cls, attack: str) -> str:
        check_attack("art", attack, ALLOWED, ART)
        return attack

    @model_validator(mode="after")
    def _complete(self) -> Self:
        check_fields(self, f"art {self.attack}", ALLOWED[self.attack], optional=("start", "decay"))
        return self

    @property
    def norms(self) -> tuple[str, ...]:
        """Norms of threat models that it serves."""
        return ("linf",) if self.attack == "BasicIterativeMethod" else ("linf", "l2")

    @property
    def cost(self) -> str:
        """What one case costs, for listings."""
        return spending(self.steps)

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse a threat model of another norm or unit, a loss that the classes do not allow, a missing library."""
        require("art")
        super().check(classes, threat)
        self.check_unit(self.name, threat)
        check_alike(threat, "art")

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case.

        Raises
        ------
        InputError
            If the library is missing, the threat model or case is not what the attack needs, or a gradient is NaN.
        """
        self.check(pipeline.classes, threat)
        attempt = Attempt(pipeline, volume, threat, seed)
        search = Search(attempt, self)
        estimator = volume_estimator(search, self.steps)
        candidate = threat.origin(attempt.clean)
        if self.start == "uniform":
            candidate = threat.project(candidate + threat.noise(attempt.clean, attempt.generator()), attempt.clean)
            for _ in range(self.steps):
                candidate = threat.project(self._generate(estimator, attempt, candidate, 1), attempt.clean)
        else:
            candidate = threat.project(self._generate(estimator, attempt, candidate, self.steps), attempt.clean)
        return search.result(candidate, {"library": library_version("art")})

    def _generate(self, estimator: Any, attempt: Attempt, image: Tensor, steps: int) -> Tensor:
        """Let ART attack ``image``, in ``steps`` steps; its ball is around ``image``."""
        threat = attempt.threat
        # The library's L2 norm is a sum over voxels, ours a mean.
        scale = math.sqrt(image.numel()) if threat.norm == "l2" else 1.0
        step, epsilon = (max(length * scale, _SMALLEST) for length in (self.step(threat), threat.epsilon))
        arguments: dict[str, Any] = {"eps": step if self.start == "uniform" else epsilon}
        if self.attack != "BasicIterativeMethod":
            arguments["norm"] = 2 if threat.norm == "l2" else np.inf
        if "steps" in ALLOWED[self.attack]:
            arguments |= {"eps_step": step, "max_iter": steps, "verbose": False}
        if self.decay is not None:
            arguments["decay"] = self.decay
        attack = getattr(load("art", "art.attacks.evasion"), self.attack)(estimator, batch_size=1, **arguments)
        moved = attack.generate(x=image.cpu().numpy()[None], y=attempt.label.cpu().numpy()[None])
        return torch.from_numpy(moved[0]).to(image)


def volume_estimator(search: Search, steps: int) -> Any:
    """Return an ART estimator of volumes ``(1, [C,] D1, D2, D3)`` whose loss gradient is that of ``search``.

    Parameters
    ----------
    search : Search
        Objective on one case; ART's label is not used.
    steps : int
        Gradients that make up the attack, for losses with a schedule.
    """
    estimators = load("art", "art.estimators")
    attempt = search.attempt

    class VolumeEstimator(estimators.BaseEstimator, estimators.LossGradientsMixin):  # type: ignore[misc, name-defined]
        @property
        def input_shape(self) -> tuple[int, ...]:
            return tuple(attempt.clean.shape)

        def loss_gradient(self, x: NDArray[np.float32], y: Any, **options: Any) -> NDArray[np.float32]:
            candidate = torch.from_numpy(x[0]).to(attempt.clean)
            _, gradient = search.climb(candidate, attempt.gradients / steps)
            if not bool(torch.isfinite(gradient).all()):
                raise InputError("the loss gradient holds NaN or infinite voxels, which ART would take for 0")
            found: NDArray[np.float32] = gradient.cpu().numpy()[None]
            return found

        def predict(self, x: NDArray[np.float32], **options: Any) -> NDArray[np.uint8]:
            return attempt.predict(torch.from_numpy(x[0]).to(attempt.clean))[None]

        def fit(self, x: Any, y: Any, **options: Any) -> None:
            raise NotImplementedError("attacks do not train")

    return VolumeEstimator(model=None, clip_values=attempt.threat.valid, preprocessing=None)
