# SPDX-License-Identifier: Apache-2.0
"""Model cards: what a model is, how it is deployed, and how it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from robust3d.foundation.cards import Card, Reference
from robust3d.foundation.paths import inside
from robust3d.networks.card import NetworkCard
from robust3d.segment.card import IntensitySettings
from robust3d.segment.fusion import FusionKind
from robust3d.segment.grid import parse_grid
from robust3d.segment.windows import Weighting


class ModelAbout(Card):
    """Name and origin of a model."""

    name: str
    description: str
    defense: str
    data: str
    licence: str


class IntensityCard(IntensitySettings):
    """The truncation window and the scheme that follows it."""

    scheme: Literal["zscore"] = "zscore"


class StageCard(Card):
    """Weights of a stage and how it slides over a volume."""

    weights: str = Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]*/)?[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors$")
    """File in the model's folder, or ``MODEL/FILE`` in that of another model in the same zoo folder."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    window: int = Field(gt=0)
    grid: str
    fusion: FusionKind = "probabilities"
    weighting: Weighting = "constant"
    min_component: float = Field(default=0.0, ge=0, le=1)
    """Of the coarse stage; the filter of the fine stage is that of the section cascade."""

    def weight_file(self, folder: Path) -> Path:
        """Return the path of the weights of the model in ``folder``.

        Raises
        ------
        InputError
            If it is a link out of the folder of its model.
        """
        other, _, file = self.weights.rpartition("/")
        return inside(folder.parent / other if other else folder, file)

    @field_validator("grid")
    @classmethod
    def _known(cls, text: str) -> str:
        parse_grid(text)
        return text


class CascadeCard(Card):
    """How the stages of a cascade join."""

    margin: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]
    min_component: float = Field(default=0.0, ge=0, le=1)
    align: PositiveInt = 1
    """The box lies at multiples of so many voxels."""


class SmoothingCard(Card):
    """A Gaussian filter before the model; the intensity window truncates first."""

    kind: Literal["smoothing"]
    sigma: PositiveFloat
    """Standard deviation in voxels."""


class BitDepthCard(Card):
    """Rounding to 2^bits levels of the intensity window before the model."""

    kind: Literal["bit_depth"]
    bits: int = Field(ge=1, le=16)


class TrainingCard(Card):
    """How the weights came about; DSC in percent."""

    recipe: str
    command: str
    seed: int
    coarse_sha256: str
    """SHA-256 of all settings that decide the coarse weights."""
    coarse_iterations: int
    coarse_validation_dsc: float
    fine_sha256: str = ""
    fine_iterations: int = 0
    fine_validation_dsc: float = 0.0
    validation: str
    """What the validation DSC means."""


class SplitCard(Card):
    """Which cases the model saw: the list stands beside the card."""

    file: str = Field(pattern=r"^[A-Za-z0-9._-]+\.json$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the three lists of names."""


class ResultsCard(Card):
    """What the model reached in a benchmark, mean DSC over its cases in percent."""

    benchmark: str
    clean_dsc: float = Field(ge=0, le=100)
    worst_dsc: float = Field(ge=0, le=100)
    """Mean over cases of the lowest DSC under any attack of the benchmark."""


class ModelCard(Card):
    """One folder of the collection ``zoo``."""

    model: ModelAbout
    network: NetworkCard
    """As deployed: heads that only training uses are neither stored nor built."""
    intensity: IntensityCard
    coarse: StageCard
    fine: StageCard | None = None
    cascade: CascadeCard | None = None
    transform: SmoothingCard | BitDepthCard | None = Field(default=None, discriminator="kind")
    """Input transform of the whole model; attacks and their gradients pass through it."""
    training: TrainingCard
    split: SplitCard | None = None
    results: ResultsCard | None = None
    reference: Reference

    @property
    def stages(self) -> dict[str, StageCard]:
        """Stages by name."""
        return {"coarse": self.coarse} | ({"fine": self.fine} if self.fine else {})

    @model_validator(mode="after")
    def _agree(self) -> ModelCard:
        self.network.check()
        if (self.fine is None) != (self.cascade is None):
            raise ValueError("the sections fine and cascade belong together; give both or neither")
        if self.transform is not None and self.intensity.window is None:
            raise ValueError("the section transform needs intensity.low and intensity.high")
        if self.fine is not None and self.fine.min_component:
            raise ValueError(
                f"fine.min_component = {self.fine.min_component:g} has no effect; leave it out and write "
                "cascade.min_component, the filter of the final mask"
            )
        return self
