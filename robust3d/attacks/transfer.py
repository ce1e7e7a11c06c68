# SPDX-License-Identifier: Apache-2.0
"""Transfer: an attack crafted on one model and evaluated on another."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import SkipValidation

from robust3d.attacks.attack import Adversarial, Attack
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume


class Transfer(Attack):
    """Calls ``attack`` on ``source``, whatever model is evaluated; benchmarks make it of ``ATTACK@MODEL``.

    Parameters
    ----------
    attack : Attack
        What is crafted.
    source : Pipeline
        Model that it is crafted on.
    """

    model_config = Attack.model_config | {"arbitrary_types_allowed": True}

    algorithm: Literal["transfer"] = "transfer"
    attack: SkipValidation[Attack]
    source: SkipValidation[Any]

    def settings(self) -> dict[str, Any]:
        """Return the attack's hyperparameters and the identity of the source."""
        return {
            "algorithm": self.algorithm,
            "name": self.name,
            "attack": self.attack.settings(),
            "source": {"model": self.source.weights_sha256, "pipeline": self.source.settings()},
        }

    @property
    def bounded(self) -> bool:
        """As the attack."""
        return self.attack.bounded

    @property
    def norms(self) -> tuple[str, ...]:
        """As the attack."""
        return self.attack.norms

    @property
    def objective(self) -> str:
        """What is optimised, for listings."""
        return self.attack.objective

    @property
    def cost(self) -> str:
        """What one case costs on the source, for listings."""
        return self.attack.cost

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse what the attack refuses on its source."""
        self.attack.check(self.source.classes, threat)

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case on the source."""
        return self.attack(self.source, volume, threat, seed)
