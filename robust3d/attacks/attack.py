# SPDX-License-Identifier: Apache-2.0
"""What an attack is and what it returns."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from robust3d.foundation.digest import mix_seed
from robust3d.metrics.counts import foreground_dsc
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume


@dataclass(frozen=True)
class Adversarial:
    """A perturbed case and what it cost.

    Parameters
    ----------
    volume : Volume
        The case with its adversarial image, in the unit of the threat model.
    distance : float
        Norm of the perturbation from the clean volume clipped to the valid range, in the threat's unit.
    trace : tuple of float
        Loss before each step, restarts in a row; empty for attacks without a loss.
    gradients, queries : int
        Whole-volume gradients and predictions that the attack asked for.
    seconds : float
        Wall time.
    """

    volume: Volume
    distance: float
    trace: tuple[float, ...]
    gradients: int
    queries: int
    seconds: float


class Attack(Protocol):
    """Hyperparameters only; calling it attacks one case."""

    @property
    def name(self) -> str:
        """Name in results."""

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case; equal arguments give equal results."""

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready hyperparameters."""


class Attempt:
    """One attack on one case while it runs: the clean tensors, the frozen pipeline, and the costs so far.

    Parameters
    ----------
    pipeline : Pipeline
        Model under attack.
    volume : Volume
        Labelled case.
    threat : ThreatModel
        Allowed perturbations.
    seed : int
        Seed of everything random, mixed with the content of the case.
    """

    def __init__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int) -> None:
        self._began = time.perf_counter()
        self.volume = volume
        self.threat = threat
        self.seed = seed
        self.pipeline = pipeline
        self.clean = torch.from_numpy(volume.image).to(pipeline.device)
        self.label = torch.from_numpy(volume.known_label()).to(pipeline.device)
        self.frozen = pipeline.frozen_at(threat.origin(self.clean))
        self.trace: list[float] = []
        self.gradients = 0
        self.queries = 0

    def generator(self, restart: int = 0) -> torch.Generator:
        """Return a CPU generator for one restart, alike on every device."""
        return torch.Generator().manual_seed(mix_seed(int(self.seed), restart, self.volume.sha256))

    def loss_gradient(self, candidate: Tensor, **options: Any) -> Tensor:
        """Return the gradient of the frozen pipeline at ``candidate``; records loss and cost."""
        value, gradient = self.frozen.loss_gradient(candidate, self.label, **options)
        self.trace.append(value)
        self.gradients += 1
        return gradient

    def dsc(self, candidate: Tensor) -> float:
        """Return the mean foreground DSC of the deployed pipeline, statistics recomputed; records a query."""
        self.queries += 1
        prediction = self.pipeline.predict(candidate)
        return foreground_dsc(prediction.mask, self.volume.known_label(), self.pipeline.classes)

    def result(self, candidate: Tensor) -> Adversarial:
        """Verify ``candidate`` against the threat model and wrap it up."""
        distance = self.threat.verify(candidate, self.clean)
        return Adversarial(
            volume=replace(
                self.volume.with_image(candidate.cpu().numpy()),
                reference=self.threat.origin(self.clean).cpu().numpy(),
            ),
            distance=distance,
            trace=tuple(self.trace),
            gradients=self.gradients,
            queries=self.queries,
            seconds=time.perf_counter() - self._began,
        )
