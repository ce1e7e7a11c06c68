# SPDX-License-Identifier: Apache-2.0
"""What an attack is and what it returns."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.foundation.cards import Card
from robust3d.foundation.digest import mix_seed
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import foreground_dsc
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.placed import placed
from robust3d.segment.recall import predict
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
    details : mapping
        JSON-ready figures of the attack's own, such as the DSC of each member of an ensemble, from 0 to 1.
    """

    volume: Volume
    distance: float
    trace: tuple[float, ...]
    gradients: int
    queries: int
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)


class Attack(Card, ABC):
    """Hyperparameters only, as a card holds them; calling it attacks one case.

    A subclass adds ``algorithm``, a literal by which cards choose it, and its hyperparameters.
    """

    model_config = Card.model_config | {"allow_inf_nan": False}

    name: str
    title: str = ""

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready hyperparameters."""
        return self.model_dump(mode="json", exclude={"title"})

    @property
    def bounded(self) -> bool:
        """Whether the perturbation keeps to the threat model's epsilon; an unbounded one never counts as worst case."""
        return True

    @property
    def norms(self) -> tuple[str, ...]:
        """Norms of the threat models that it serves."""
        return ("linf", "l2")

    @property
    def objective(self) -> str:
        """What is optimised, for listings."""
        return "none"

    @property
    def cost(self) -> str:
        """What one case costs in whole-volume gradients and predictions, for listings."""
        return "nothing"

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse, before any computing, a model or threat model that the attack cannot serve.

        Parameters
        ----------
        classes : int
            Of the model, background included.
        threat : ThreatModel
            Allowed perturbations.

        Raises
        ------
        InputError
            With the alternative.
        """
        if threat.norm not in self.norms:
            raise InputError(
                f"attack {self.name} is defined for norm {' or '.join(self.norms)} and the threat model has "
                f"{threat.norm}; choose another attack ('robust3d attacks' shows the norms of each)"
            )

    @abstractmethod
    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case; equal arguments give equal results."""


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
    bounded : bool
        Whether the attack keeps to epsilon, so that the storage must hold a volume within it.
    """

    def __init__(
        self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int, *, bounded: bool = True
    ) -> None:
        self._began = time.perf_counter()
        self.volume = volume
        self.threat = threat
        self.seed = seed
        self.pipeline = placed(pipeline, volume)
        self.clean = torch.from_numpy(volume.image).to(pipeline.device)
        if bounded:
            threat.check_clean(self.clean)
        self.label = torch.from_numpy(volume.known_label()).to(pipeline.device)
        self.frozen = self.pipeline.frozen_at(threat.origin(self.clean))
        self.trace: list[float] = []
        self.gradients = 0
        self.queries = 0

    def generator(self, restart: int = 0) -> torch.Generator:
        """Return a CPU generator for one restart, alike on every device."""
        return torch.Generator().manual_seed(mix_seed(int(self.seed), restart, self.volume.sha256))

    def loss_gradient(self, candidate: Tensor, label: Tensor | None = None, **options: Any) -> tuple[float, Tensor]:
        """Return loss and gradient of the frozen pipeline at ``candidate``; records loss and cost.

        ``label`` is the truth by default; ``options`` are those of :meth:`Pipeline.loss_gradient`.
        """
        value, gradient = self.frozen.loss_gradient(candidate, self.label if label is None else label, **options)
        self.trace.append(value)
        self.gradients += 1
        return value, gradient

    def add_cost(self, result: Adversarial) -> None:
        """Take over what another attack spent on this case."""
        self.trace += result.trace
        self.gradients += result.gradients
        self.queries += result.queries

    def predict(self, candidate: Tensor) -> NDArray[np.uint8]:
        """Return the mask of the deployed pipeline, statistics recomputed; records a query."""
        self.queries += 1
        return predict(self.pipeline, candidate).mask

    def dsc(self, mask: NDArray[np.uint8]) -> float:
        """Return the mean foreground DSC of a mask with the truth, from 0 to 1."""
        return foreground_dsc(mask, self.volume.known_label(), self.pipeline.classes)

    def result(
        self, candidate: Tensor, *, bounded: bool = True, details: Mapping[str, Any] | None = None
    ) -> Adversarial:
        """Verify ``candidate`` against the threat model and wrap it up with figures of the attack's own.

        An unbounded attack is only held to the valid range and storage; its true distance is reported. Of several
        channels, ``largest_change_by_channel`` is added, in the volume's unit.
        """
        distance = self.threat.verify(candidate, self.clean, bounded=bounded)
        figures = dict(details or {})
        if self.volume.channels > 1:
            figures["largest_change_by_channel"] = self.threat.changes_by_channel(candidate, self.clean)
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
            details=figures,
        )


def spending(gradients: int = 0, predictions: int = 0) -> str:
    """Return whole-volume gradients and predictions in words, such as ``"5 gradients, 1 prediction"``."""
    parts = ((gradients, "gradient"), (predictions, "prediction"))
    return ", ".join(f"{number} {noun}" if number == 1 else f"{number} {noun}s" for number, noun in parts if number)
