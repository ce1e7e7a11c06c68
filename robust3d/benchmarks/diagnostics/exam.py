# SPDX-License-Identifier: Apache-2.0
"""Exam: one model on one case under one threat model, with the measurements that several checks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.attacks.ascent import GradientAscent
from robust3d.attacks.attack import Attack
from robust3d.attacks.controls import RandomSign
from robust3d.attacks.square import Square
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import foreground_dsc
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.prediction import Prediction
from robust3d.segment.recall import predict_clean
from robust3d.threat.model import ThreatModel
from robust3d.volume.labels import IGNORE
from robust3d.volume.volume import Volume

DEFAULT_ATTACK = GradientAscent(
    name="doctor", loss="dice", steps=10, relative_step=0.25, gradient="fused", windows="all", target="c2f"
)
"""PGD from the clean volume on the exact gradient of whole-volume Dice; step 2.5 epsilon / N (arXiv:1706.06083)."""

SQUARE_QUERIES = 20
"""Enough to see whether random search finds what gradients miss; too few for an attack in its own right."""

_LEAST_DSC = 0.1
"""A model that finds less than this of the organ has too little to lose for attacks to compare."""


@dataclass(frozen=True)
class Outcome:
    """What an attack reached.

    Parameters
    ----------
    dsc : float
        Mean foreground DSC of the deployed prediction, from 0 to 1.
    mask : ndarray of uint8, shape (D1, D2, D3)
        That prediction.
    image : ndarray of float32, same shape
        The perturbed volume, in its own unit.
    trace : tuple of float
        Loss before each step.
    """

    dsc: float
    mask: NDArray[np.uint8]
    image: NDArray[np.float32]
    trace: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Exam:
    """A case under examination; every property is computed when it is first asked for, and then kept.

    Parameters
    ----------
    pipeline : Pipeline
        The model.
    volume : Volume
        Labelled case.
    threat : ThreatModel
        Epsilon, its unit, valid range.
    attack : GradientAscent
        Attack whose steps and epsilon are varied; always without restarts and judged by its last iterate.
    seed : int
        Of everything random.

    Raises
    ------
    InputError
        If epsilon is 0, the label is empty, or the attack is targeted or does not serve the model.
    """

    pipeline: Pipeline
    volume: Volume
    threat: ThreatModel
    attack: GradientAscent = DEFAULT_ATTACK
    seed: int = 0
    _outcomes: dict[str, Outcome] = field(default_factory=dict, repr=False)
    _gradients: dict[tuple[str, str], tuple[float, Tensor]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.threat.epsilon == 0:
            raise InputError("epsilon 0 allows no perturbation to examine a model with; give a positive one")
        if self.attack.goal is not None:
            raise InputError(f"attack {self.attack.name} is targeted; examine a model with an untargeted one")
        self.attack.check(self.pipeline.classes, self.threat)
        self.threat.check_clean(torch.from_numpy(self.volume.image))
        if not bool(self.organ.any()):
            raise InputError(f"the label of case {self.volume.name} holds no organ; examine a model on one that does")

    @cached_property
    def origin(self) -> Tensor:
        """The clean volume clipped to the valid range."""
        return self.threat.origin(torch.from_numpy(self.volume.image).to(self.pipeline.device))

    @cached_property
    def label(self) -> Tensor:
        """The truth."""
        return torch.from_numpy(self.volume.known_label()).to(self.pipeline.device)

    @cached_property
    def organ(self) -> Tensor:
        """Which voxels belong to any foreground class."""
        return (self.label > 0) & (self.label != IGNORE)

    @cached_property
    def movable(self) -> Tensor:
        """Which voxels lie strictly inside the valid range; at its ends a gradient may rightly be zero."""
        bounds = self.threat.bounds(self.origin)
        if bounds is None:
            return torch.ones_like(self.origin, dtype=torch.bool)
        inside: Tensor = (self.origin > bounds[0]) & (self.origin < bounds[1])
        return inside

    @cached_property
    def frozen(self) -> Pipeline:
        """The model with the normalisation statistics of the clean volume, as attacks see it."""
        return self.pipeline.frozen_at(self.origin)

    @cached_property
    def prediction(self) -> Prediction:
        """Prediction of the volume as it is."""
        return predict_clean(self.pipeline, self.volume.image)

    @property
    def clean(self) -> Outcome:
        """What no attack reaches."""
        mask = self.prediction.mask
        return Outcome(self.score(mask), mask, self.volume.image, ())

    def score(self, mask: NDArray[np.uint8]) -> float:
        """Return the mean foreground DSC of a mask, from 0 to 1."""
        return foreground_dsc(mask, self.volume.known_label(), self.pipeline.classes)

    @property
    def relative_step(self) -> float:
        """Step of the attack as a fraction of epsilon."""
        return self.attack.step(self.threat) / self.threat.epsilon

    def ascent(self, steps: int, relative_step: float) -> GradientAscent:
        """Return the attack with other steps, no restarts and its last iterate."""
        changes = {"step_size": None, "step_unit": None, "relative_step": relative_step, "check_every": None}
        return self.attack.model_copy(update={**changes, "steps": steps, "restarts": 1, "iterate": "last"})

    def after(self, steps: int) -> Outcome:
        """Return what the attack reaches in ``steps`` steps at epsilon."""
        return self._outcome(f"steps {steps}", self.ascent(steps, self.relative_step), self.threat.epsilon)

    @property
    def attacked(self) -> Outcome:
        """What the attack reaches at epsilon."""
        return self.after(self.attack.steps)

    @property
    def halved(self) -> Outcome:
        """What it reaches at half of epsilon, with half the step."""
        attack = self.ascent(self.attack.steps, self.relative_step)
        return self._outcome("half", attack, self.threat.epsilon / 2)

    @property
    def unbounded(self) -> Outcome:
        """What it reaches where epsilon spans all values; the best iterate, since its steps are large too."""
        spans = self.threat.spans or ((float(self.volume.image.min()), float(self.volume.image.max())),)
        attack = self.ascent(self.attack.steps, self.relative_step).model_copy(update={"iterate": "best"})
        return self._outcome("unbounded", attack, max(high - low for low, high in spans))

    @property
    def one_step(self) -> Outcome:
        """What one step of size epsilon reaches (FGSM)."""
        return self._outcome("one step", self.ascent(1, 1.0), self.threat.epsilon)

    @property
    def nothing(self) -> Outcome:
        """What one step reaches at epsilon 0."""
        return self._outcome("nothing", self.ascent(1, 1.0), 0.0)

    @property
    def noise(self) -> Outcome:
        """What random signs reach at epsilon."""
        return self._outcome("noise", RandomSign(name="noise"), self.threat.epsilon)

    @property
    def searched(self) -> Outcome:
        """What Square reaches with few queries."""
        return self._outcome("search", Square(name="square", queries=SQUARE_QUERIES), self.threat.epsilon)

    def require_skill(self) -> None:
        """Refuse to compare attacks on a model that has nothing to lose.

        Raises
        ------
        InputError
            If the clean DSC is below 10 %.
        """
        if self.clean.dsc < _LEAST_DSC:
            raise InputError(
                f"the clean DSC is {100 * self.clean.dsc:.1f} % and attacks compare only where there is something "
                "to lose; examine the model on a case that it segments"
            )

    def gradient(self, loss: str, windows: str) -> tuple[float, Tensor]:
        """Return loss and gradient at the clean volume, kept."""
        if (loss, windows) not in self._gradients:
            self._gradients[loss, windows] = self.loss_gradient(self.origin, loss=loss, windows=windows)
        return self._gradients[loss, windows]

    def loss_gradient(self, image: Tensor, **options: str) -> tuple[float, Tensor]:
        """Return loss and gradient at a volume, with the attack's options unless others are given."""
        attack = self.attack
        chosen = {"loss": attack.loss, "mode": attack.gradient, "windows": attack.windows, "target": attack.target}
        compute: Callable[..., tuple[float, Tensor]] = self.frozen.loss_gradient
        return compute(image, self.label, **(chosen | options))

    def _outcome(self, key: str, attack: Attack, epsilon: float) -> Outcome:
        if key not in self._outcomes:
            adversarial = attack(self.pipeline, self.volume, replace(self.threat, epsilon=epsilon), self.seed)
            mask = self.pipeline.predict(adversarial.volume.image).mask
            self._outcomes[key] = Outcome(self.score(mask), mask, adversarial.volume.image, adversarial.trace)
        return self._outcomes[key]
