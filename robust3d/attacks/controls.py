# SPDX-License-Identifier: Apache-2.0
"""Controls: perturbations of the same size without any knowledge of the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from robust3d.attacks.attack import Adversarial, Attempt
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume


@dataclass(frozen=True, kw_only=True)
class RandomSign:
    """Every voxel moves by plus or minus epsilon at random: what noise of this norm does."""

    name: str

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready hyperparameters."""
        return {"algorithm": "random_sign", **asdict(self)}

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Perturb one labelled case."""
        attempt = Attempt(pipeline, volume, threat, seed)
        coin = torch.randint(0, 2, attempt.clean.shape, generator=attempt.generator()) * 2 - 1
        moved = threat.origin(attempt.clean) + threat.epsilon * coin.to(attempt.clean.device)
        return attempt.result(threat.project(moved, attempt.clean))


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The clean volume clipped to the valid range: what the threat model itself does at epsilon 0."""

    name: str

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready hyperparameters."""
        return {"algorithm": "identity", **asdict(self)}

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Return one labelled case, clipped."""
        attempt = Attempt(pipeline, volume, threat, seed)
        return attempt.result(threat.project(attempt.clean, attempt.clean))
