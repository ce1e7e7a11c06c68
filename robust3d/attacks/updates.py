# SPDX-License-Identifier: Apache-2.0
"""Update rules of gradient ascent: from the gradients so far to the next step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from robust3d.threat.model import ThreatModel

UpdateName = Literal["steepest", "momentum", "nesterov", "amsgrad", "max_normalised"]

_TINY = 1e-30


class Update:
    """Steepest ascent in the norm of the threat model: the sign, or the gradient over its RMS.

    Parameters
    ----------
    threat : ThreatModel
        Gives the norm.
    decay : float
        Decay mu of the accumulated gradient, for rules with momentum.
    """

    def __init__(self, threat: ThreatModel, decay: float) -> None:
        self.threat = threat
        self.decay = decay

    def ahead(self, candidate: Tensor, step: float) -> Tensor:
        """Return where the gradient is to be taken; ``step`` in the unit of the threat model."""
        return candidate

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the step for step size 1, which the caller may overwrite."""
        return self.threat.steepest(gradient)


class Momentum(Update):
    """MI-FGSM: g <- mu g + gradient / mean |gradient|, step along g (arXiv:1710.06081, Eq. 6; mean for L1 norm)."""

    def __init__(self, threat: ThreatModel, decay: float) -> None:
        super().__init__(threat, decay)
        self.velocity: Tensor | None = None

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the step for step size 1."""
        # One scale for the whole volume; a gradient of 0 everywhere adds nothing.
        fresh = gradient / gradient.abs().mean().clamp_min(_TINY)
        self.velocity = fresh if self.velocity is None else self.decay * self.velocity + fresh
        return self.threat.steepest(self.velocity)


class Nesterov(Momentum):
    """NI-FGSM: as MI-FGSM with the gradient at x + alpha mu g (arXiv:1908.06281, Eq. 6)."""

    def ahead(self, candidate: Tensor, step: float) -> Tensor:
        """Return the point that the momentum alone would lead to."""
        if self.velocity is None:
            return candidate
        return candidate + step * self.decay * self.threat.weigh(self.velocity)


class AMSGrad(Update):
    """Adam with the largest second moment (arXiv:1904.09237), beta 0.9 and 0.999 as in Halmosi et al."""

    def __init__(self, threat: ThreatModel, decay: float) -> None:
        super().__init__(threat, decay)
        self.count = 0
        self.scale = 0.0
        self.first = self.second = self.largest = torch.zeros(())

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the step for step size 1."""
        # Adam's epsilon must not matter, whatever the unit of the volume makes of the gradient's size.
        if self.scale == 0:
            self.scale = float(gradient.abs().max())
        gradient = gradient / max(self.scale, _TINY)
        self.count += 1
        self.first = 0.9 * self.first.to(gradient) + 0.1 * gradient
        self.second = 0.999 * self.second.to(gradient) + 0.001 * gradient.square()
        self.largest = torch.maximum(self.largest.to(gradient), self.second)
        mean = self.first / (1 - 0.9**self.count)
        return self.threat.weigh(mean / ((self.largest / (1 - 0.999**self.count)).sqrt() + 1e-8))


class MaxNormalised(Update):
    """The gradient over its largest absolute value, as DAG moves (arXiv:1703.08603, Algorithm 1)."""

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the step for step size 1."""
        return self.threat.weigh(gradient / gradient.abs().max().clamp_min(_TINY))


UPDATES: dict[UpdateName, Callable[[ThreatModel, float], Update]] = {
    "steepest": Update,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "amsgrad": AMSGrad,
    "max_normalised": MaxNormalised,
}
