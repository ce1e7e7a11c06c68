# SPDX-License-Identifier: Apache-2.0
"""Controls: perturbations of the same size without any knowledge of the model."""

from __future__ import annotations

from typing import Literal

import torch

from robust3d.attacks.attack import Adversarial, Attack, Attempt
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume


class RandomSign(Attack):
    """Every voxel moves by plus or minus epsilon at random: what noise of this size does."""

    algorithm: Literal["random_sign"] = "random_sign"

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Perturb one labelled case."""
        attempt = Attempt(pipeline, volume, threat, seed)
        coin = torch.randint(0, 2, attempt.clean.shape, generator=attempt.generator()) * 2 - 1
        moved = threat.origin(attempt.clean) + threat.weigh(threat.epsilon * coin.to(attempt.clean))
        return attempt.result(threat.project(moved, attempt.clean))


class Identity(Attack):
    """The clean volume clipped to the valid range: what the threat model itself does at epsilon 0."""

    algorithm: Literal["identity"] = "identity"

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Return one labelled case, clipped."""
        attempt = Attempt(pipeline, volume, threat, seed)
        return attempt.result(threat.project(attempt.clean, attempt.clean))
