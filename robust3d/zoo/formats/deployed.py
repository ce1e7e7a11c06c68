# SPDX-License-Identifier: Apache-2.0
"""What every format is read into: a network and how it is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from robust3d.foundation.errors import InputError
from robust3d.segment.channel_intensity import Scheme
from robust3d.segment.fusion import FusionKind
from robust3d.segment.grid import Grid, Shape, parse_grid
from robust3d.segment.model_grid import ModelGrid
from robust3d.segment.network import Predictor, digest_network
from robust3d.segment.outputs import Outputs
from robust3d.segment.precision import Precision
from robust3d.segment.resampled import Resampled
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.windows import Weighting
from robust3d.zoo.formats.card import ForeignCard


@dataclass(frozen=True)
class Deployment:
    """Everything of a pipeline but the network.

    Parameters
    ----------
    window, grid, weighting, window_batch
        As for :meth:`Segmenter.from_network`.
    intensity : Intensity or ChannelIntensity
        With the value of padding, where one is given.
    fusion : str or None
        By default that of the network's own outputs, which is what MONAI averages.
    outputs : str
        What the network returns.
    channels : int
        Input channels.
    """

    window: Shape
    grid: Grid
    intensity: Scheme
    weighting: Weighting = "constant"
    fusion: FusionKind | None = None
    outputs: Outputs = "logits"
    window_batch: int | None = None
    channels: int = 1

    @classmethod
    def of(cls, card: ForeignCard) -> Deployment | None:
        """Return what a card says; ``None`` if it leaves that to the model."""
        if card.inference is None or card.intensity is None:
            return None
        inference = card.inference
        return cls(
            window=inference.window,
            grid=parse_grid(inference.grid),
            intensity=card.intensity.build().filled(inference.padding),
            weighting=inference.weighting,
            fusion=inference.fusion,
            outputs=card.model.outputs,
            window_batch=inference.window_batch,
            channels=card.network.channels,
        )

    def segmenter(self, network: Predictor, **others: Any) -> Segmenter:
        """Return the pipeline of a network; ``others`` as for :meth:`Segmenter.from_network`."""
        return Segmenter.from_network(
            network,
            window=self.window,
            grid=self.grid,
            intensity=self.intensity,
            weighting=self.weighting,
            fusion=self.fusion or self.outputs,
            outputs=self.outputs,
            window_batch=self.window_batch,
            **({"channels": self.channels} | others),
        )


@dataclass(frozen=True)
class Source:
    """Where a model is, and what its user trusts it with.

    Parameters
    ----------
    path : Path
        Its file or folder; the card itself for a factory.
    card : ForeignCard or None
        Without one, the format itself must tell how the model is deployed.
    programs : bool
        Whether model files that are programs may be loaded.
    code : bool
        Whether Python code may be imported.
    """

    path: Path
    card: ForeignCard | None = None
    programs: bool = False
    code: bool = False

    def check_program(self) -> None:
        """Refuse a program that the user did not ask for.

        Raises
        ------
        InputError
            If neither its path nor its collection was named.
        """
        if not self.programs:
            raise InputError(
                f"model file {self.path} is a program; name its collection (--collection DIR) or its path, if you "
                "trust it"
            )

    def deployment(self) -> Deployment:
        """Return the card's.

        Raises
        ------
        InputError
            Without a card.
        """
        found = None if self.card is None else Deployment.of(self.card)
        if found is None:
            raise InputError(f"model {self.path} does not say how it is deployed; write a card (docs/models.md)")
        return found


@dataclass(frozen=True)
class Deployed:
    """A model as its format describes it.

    Parameters
    ----------
    network : nn.Module or callable
        On the CPU.
    deployment : Deployment
        How it slides over a volume.
    architecture : mapping
        JSON-ready description for results.
    weights_sha256 : str or None
        Identity of weights (and program); the hash of the module's state by default.
    model_grid : ModelGrid or None
        Where it works, if that is not the grid of the volume.
    regions : tuple of int
        Class of each region, on such a grid; see :class:`Resampled`.
    """

    network: Predictor
    deployment: Deployment
    architecture: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str | None = None
    model_grid: ModelGrid | None = None
    regions: tuple[int, ...] = ()

    def pipeline(self, device: torch.device, precision: Precision) -> Segmenter | Resampled:
        """Return the pipeline on a device."""
        network = self.network.to(device) if isinstance(self.network, nn.Module) else self.network
        segmenter = self.deployment.segmenter(
            network,
            precision=precision,
            architecture=self.architecture,
            weights_sha256=self.weights_sha256 or digest_network(network),
        )
        if self.model_grid is None:
            return segmenter
        return Resampled(model=segmenter, grid=self.model_grid, regions=self.regions)


class ModelFormat(Protocol):
    """How one format is read."""

    def __call__(self, source: Source) -> Deployed:
        """Return the model, or raise an InputError of one sentence."""
