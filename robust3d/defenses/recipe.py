# SPDX-License-Identifier: Apache-2.0
"""Recipe: the card of a training run, everything that decides the weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from robust3d.data.card import CaseSettings
from robust3d.defenses.algorithms.adaptive import Adaptive
from robust3d.defenses.algorithms.fast import Fast
from robust3d.defenses.algorithms.free import Free
from robust3d.defenses.algorithms.noise import Noise
from robust3d.defenses.algorithms.pgd import Pgd
from robust3d.defenses.algorithms.segpgd import SegPgd
from robust3d.defenses.algorithms.trades import Trades
from robust3d.defenses.algorithms.vaft import Vaft
from robust3d.foundation.cards import Card, Reference
from robust3d.networks.card import NetworkCard
from robust3d.networks.registry import TrainingLoss, count_auxiliary_heads
from robust3d.segment.card import IntensitySettings
from robust3d.segment.fusion import FusionKind
from robust3d.segment.grid import parse_grid


class About(Card):
    """Name, one sentence, and the licence of the weights."""

    name: str
    description: str
    licence: str | None = None
    """That of the data may bind weights too; by default Apache-2.0 for generated phantoms, and not stated for files."""


class DataSettings(CaseSettings):
    """Which cases train and validate: those of a split, or by number.

    Of a folder without a split, the first cases by name train and the next ones validate. With ``--fold``, those that
    validate are taken from the cases outside the fold, and the others train.
    """

    train_cases: PositiveInt | None = None
    """By default all that are left."""
    validation_cases: PositiveInt | None = None
    fold_sizes: tuple[PositiveInt, ...] | None = None
    """Cases of each fold; by default sizes that differ by one at most, the larger ones first."""
    fold_seed: NonNegativeInt | None = None
    """Of the shuffle before cases are cut into folds; 0 by default."""

    def check(self) -> None:
        """Refuse settings that would change nothing, and a missing number of cases."""
        self.check_source(("fold_sizes", "fold_seed"))
        counts = ("train_cases", "validation_cases", "fold_sizes", "fold_seed")
        given = [key for key in counts if getattr(self, key) is not None]
        if self.split is not None and given:
            raise ValueError(f"data.{given[0]} has no effect with data.split, which names the cases; leave one out")
        for key in counts[:2] if self.source == "phantom" else counts[1:2]:
            if self.split is None and key not in given:
                raise ValueError(f"key 'data.{key}' is missing")


class NetworkSettings(NetworkCard):
    """The network, by its name in the engine, with its auxiliary heads."""

    deep_supervision: bool | None = None


AnyAdversary = Pgd | Trades | Fast | Free | SegPgd | Adaptive | Vaft | Noise
"""Chosen by the key ``algorithm``."""


class StageSettings(Card):
    """Training of one stage of the cascade."""

    iterations: PositiveInt
    batch: PositiveInt
    window: PositiveInt
    sampling: Literal["anywhere", "foreground"]
    """``anywhere``: windows of the whole volume, a share of them centred on the organ; ``foreground``: every
    window lies over the bounding box of the organ."""
    centred: float = Field(default=0.0, ge=0, le=1)
    """Share of the windows of ``anywhere`` that are centred on a foreground voxel; 0 with ``foreground``."""
    augmentation: float = Field(default=1.0, ge=0, le=1)
    """Probability that a window is rotated by multiples of 90 degrees and flipped along the three axes."""
    start: str = "random"
    """``random``, ``coarse`` (this run's coarse stage) or ``MODEL/STAGE`` of the zoo."""
    start_layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Layers, such as ``conv1``, that are taken from ``start``; all by default. The others are random and may have
    other shapes there."""
    learning_rate: PositiveFloat
    optimizer: Literal["sgd", "adamw"] | None = None
    """By default SGD."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD."""
    schedule: Literal["poly", "cosine"] | None = None
    """Of the learning rate; by default polynomial decay."""
    power: float = Field(default=0.9, ge=0)
    """Of polynomial decay."""
    weight_decay: float = Field(default=5e-4, ge=0)
    accumulate: int | None = Field(default=None, ge=2)
    """Parts in which a batch passes through the network, to save memory; batch normalisation sees a part at a time."""
    average: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights; it is validated and kept in place of the last ones."""
    auxiliary_weights: tuple[float, ...] = (0.2, 0.4)
    """One for each auxiliary head of the network."""
    loss: TrainingLoss | None = None
    """Of every head: cross entropy, soft Dice (Milletari et al.) or their sum (Isensee et al.), which finds small
    classes sooner; by default that of the network's paper. An adversary ascends the cross entropy in any case."""
    validate_every: PositiveInt = 500
    validation_windows: PositiveInt = 64
    checkpoint_every: PositiveInt = 100

    @field_validator("start")
    @classmethod
    def _from_somewhere(cls, start: str) -> str:
        if start not in ("random", "coarse") and not start.endswith(("/coarse", "/fine")):
            raise ValueError(f"{start!r} is not 'random', 'coarse' or MODEL/STAGE, such as 'resdsn-c2f-natural/coarse'")
        return start


class DeploySettings(Card):
    """How the trained model slides over a volume; decides nothing about the weights."""

    coarse_window: PositiveInt | None = None
    """Window edge in voxels; that of training by default, a larger one sees fewer borders."""
    fine_window: PositiveInt | None = None
    coarse_grid: str
    fine_grid: str | None = None
    """Given if and only if there is a fine stage, like ``margin``."""
    margin: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] | None = None
    """Padding of the box of the cascade, in voxels."""
    align: PositiveInt | None = None
    """The box of the cascade lies at multiples of so many voxels; 1 if not given."""
    min_component: float = Field(default=0.0, ge=0, le=1)
    fusion: FusionKind = "probabilities"
    """How windows join where they overlap; ``vote`` is a majority vote."""

    @field_validator("coarse_grid", "fine_grid")
    @classmethod
    def _known(cls, text: str | None) -> str | None:
        if text is not None:
            parse_grid(text)
        return text


class Recipe(Card):
    """A training card: the stages ``coarse`` and ``fine`` are trained in this order."""

    recipe: About
    reference: Reference
    data: DataSettings
    network: NetworkSettings
    intensity: IntensitySettings
    coarse: StageSettings
    fine: StageSettings | None = None
    adversary: AnyAdversary | None = Field(default=None, discriminator="algorithm")
    deploy: DeploySettings
    seed: NonNegativeInt = 0
    precision: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _agree(self) -> Recipe:
        if self.coarse.start == "coarse":
            raise ValueError("coarse.start cannot be 'coarse'; only the fine stage can start from the coarse one")
        self.network.check()
        self._check_effects()
        return self

    def _check_effects(self) -> None:
        """Refuse settings that were written but would change nothing."""
        self.data.check()
        window = self.intensity.window
        if self.data.rescale is not None and window is not None and not 0 <= window[0] < window[1] <= 100:
            raise ValueError(
                f"the section intensity truncates to [{window[0]:g}, {window[1]:g}] and data.rescale makes voxels "
                "percent of each case's range; give low and high from 0 to 100, or leave the section empty"
            )
        if self.data.classes is not None and self.network.classes != 1 + len(self.data.classes):
            raise ValueError(
                f"network.classes = {self.network.classes} and data.classes holds {len(self.data.classes)}; a network "
                "has one class more, the background"
            )
        if self.data.cyst and self.network.classes < 3:
            raise ValueError(
                f"network.classes = {self.network.classes} and data.cyst is true, whose phantoms hold classes 0 to 2; "
                "give 3"
            )
        if self.adversary is not None:
            self.data.check_unit(self.adversary.unit)
            if self.adversary.algorithm == "vaft" and window is None:
                raise ValueError("algorithm 'vaft' quantises the range of the section intensity; give it low and high")
        for key in ("fine_grid", "margin", "fine_window", "align"):
            given = getattr(self.deploy, key) is not None
            if given and self.fine is None:
                raise ValueError(f"deploy.{key} has no effect without a section fine; leave it out or add the section")
            if self.fine is not None and not given and key in ("fine_grid", "margin"):
                raise ValueError(f"key 'deploy.{key}' is missing, which the section fine needs")
        heads = count_auxiliary_heads(self.network.name, self.network.build_options())
        for name, stage in self.stages.items():
            if stage.sampling == "foreground" and stage.centred:
                raise ValueError(
                    f"{name}.centred = {stage.centred:g} has no effect with sampling 'foreground'; leave it out or "
                    "choose 'anywhere'"
                )
            if stage.start_layers is not None and stage.start == "random":
                raise ValueError(f"{name}.start_layers has no effect with start 'random'; leave it out")
            _check_optimisation(name, stage)
            weights = len(stage.auxiliary_weights)
            given = "auxiliary_weights" in stage.model_fields_set
            if (given or heads) and weights != heads:
                raise ValueError(
                    f"{name}.auxiliary_weights holds {weights} weights{'' if given else ' by default'} and the network "
                    f"{self.network.name} of this card has {heads} auxiliary heads; give one weight for each"
                )

    @property
    def stages(self) -> dict[str, StageSettings]:
        """Stages in the order in which they are trained."""
        return {"coarse": self.coarse} | ({"fine": self.fine} if self.fine else {})


def _check_optimisation(name: str, stage: StageSettings) -> None:
    """Refuse keys of another optimizer or schedule, and a batch that cannot be split."""
    for key, chosen, other in (("momentum", stage.optimizer, "adamw"), ("power", stage.schedule, "cosine")):
        if key in stage.model_fields_set and chosen == other:
            raise ValueError(f"{name}.{key} has no effect with {other!r}; leave it out")
    if stage.batch % (stage.accumulate or 1):
        raise ValueError(f"{name}.batch = {stage.batch} windows cannot be split into {stage.accumulate} equal parts")
