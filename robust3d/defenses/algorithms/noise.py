# SPDX-License-Identifier: Apache-2.0
"""Gaussian noise in place of an adversary: the control that an adversarial recipe has to beat."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from robust3d.defenses.adversary import Adversary, Step


class Noise(Adversary):
    """Windows plus independent Gaussian noise a voxel, clipped to the valid range."""

    algorithm: Literal["noise"]
    epsilon: NonNegativeFloat = 0.0
    """Of validation alone; with 0 that is clean only."""
    sigma: PositiveFloat
    """Standard deviation, in the volume's unit; the warm-up applies to it."""

    @property
    def passes(self) -> float:
        """That of the update."""
        return 1

    def attacked(self, step: Step) -> Tensor:
        """Return noisy windows."""
        noisy = step.batch.image + self.sigma * step.strength * step.draws.normal(step.batch.image)
        return noisy if step.threat.valid is None else noisy.clamp(*step.threat.valid)
