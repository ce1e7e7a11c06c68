# SPDX-License-Identifier: Apache-2.0
"""The card of a model in another format: where its file is, and how it is deployed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from robust3d.foundation.cards import Card
from robust3d.foundation.errors import InputError
from robust3d.segment.channel_intensity import Scheme, scheme_of
from robust3d.segment.fusion import FusionKind
from robust3d.segment.grid import parse_grid
from robust3d.segment.intensity import Intensity
from robust3d.segment.outputs import Outputs
from robust3d.segment.windows import Weighting

Numbers = float | Annotated[tuple[float, ...], Field(min_length=1)]
"""One for all channels, or one a channel."""

FormatName = Literal["monai-bundle", "state-dict", "torchscript", "torch-export", "factory", "nnunet"]


class ForeignAbout(Card):
    """Name, format and origin of a model."""

    format: FormatName
    name: str = ""
    description: str = ""
    defense: str = "none"
    data: str = "not stated"
    licence: str = "not stated"
    file: str = ""
    """Relative to the card."""
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Of the file."""
    factory: str = Field(default="", pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_]\w*)?$")
    """``package.module:function``, which returns the network."""
    outputs: Outputs = "logits"

    @model_validator(mode="after")
    def _agree(self) -> ForeignAbout:
        if (self.format == "factory") != bool(self.factory):
            raise ValueError("the key model.factory belongs to the format 'factory', which needs it")
        if self.format != "factory" and not self.file:
            raise ValueError(f"key 'model.file' is missing, which the format {self.format!r} needs")
        return self


class ForeignNetwork(Card):
    """Network of a state dict, ``monai:CLASS`` or one of robust3d's; options of a factory."""

    name: str = ""
    channels: int = Field(default=1, ge=1)
    """Input channels."""
    classes: int = Field(default=2, ge=1)
    """Output channels."""
    options: dict[str, Any] = Field(default_factory=dict)


class InferenceCard(Card):
    """How windows slide over a volume and are fused."""

    window: tuple[PositiveInt, PositiveInt, PositiveInt]
    grid: str = "overlap(0.5)"
    weighting: Weighting = "constant"
    fusion: FusionKind | None = None
    """By default what MONAI averages: the network's own outputs."""
    padding: float | None = None
    """Normalised value around a volume smaller than the window; by default the lowest of the intensity window."""
    window_batch: PositiveInt | None = None

    @field_validator("grid")
    @classmethod
    def _known(cls, text: str) -> str:
        parse_grid(text)
        return text


class ForeignIntensity(Card):
    """Truncation to ``low`` and ``high`` (none by default), then minus ``offset`` and over ``scale``.

    ``scheme`` says which these are: ``zscore`` mean and standard deviation of each case; ``unit`` such that the window
    becomes [0, 1]; ``fixed`` the two numbers given; ``none`` 0 and 1. Every number may be a list of one a channel.
    """

    scheme: Literal["zscore", "unit", "fixed", "none"]
    low: Numbers | None = None
    high: Numbers | None = None
    offset: Numbers | None = None
    scale: Numbers | None = None

    @model_validator(mode="after")
    def _agree(self) -> ForeignIntensity:
        if (self.low is None) != (self.high is None):
            raise ValueError("intensity.low and intensity.high belong together; give both or neither")
        if self.scheme == "unit" and self.low is None:
            raise ValueError("intensity.scheme 'unit' needs low and high")
        if (self.scheme == "fixed") != (self.offset is not None and self.scale is not None):
            raise ValueError("intensity.offset and intensity.scale belong to the scheme 'fixed', which needs both")
        return self

    def build(self) -> Scheme:
        """Return the scheme; of several channels if a number is a list.

        Raises
        ------
        InputError
            If two lists have other lengths.
        """
        given = {key: getattr(self, key) for key in ("low", "high", "offset", "scale")}
        lengths = {key: len(value) for key, value in given.items() if isinstance(value, tuple)}
        if len(set(lengths.values())) > 1:
            told = " and ".join(f"intensity.{key} {length}" for key, length in lengths.items())
            raise InputError(f"one number a channel is needed in each list of a card: it gives {told}")
        count = next(iter(lengths.values()), 1)
        columns = {key: value if isinstance(value, tuple) else (value,) * count for key, value in given.items()}
        return scheme_of([self._one(*(columns[key][n] for key in given)) for n in range(count)])

    def _one(self, low: float | None, high: float | None, offset: float | None, scale: float | None) -> Intensity:
        window = {} if low is None or high is None else {"low": low, "high": high}
        if self.scheme == "zscore":
            return Intensity(**window)
        if self.scheme == "unit":
            return Intensity(**window, offset=low, scale=(high or 0.0) - (low or 0.0))
        fixed = self.scheme == "fixed"
        return Intensity(**window, offset=offset if fixed else 0.0, scale=scale if fixed else 1.0)


class NnunetSection(Card):
    """What ``nnUNetv2_predict`` takes as options, with its defaults."""

    folds: tuple[Literal["0", "1", "2", "3", "4", "all"], ...] = ()
    """All that were trained, by default."""
    checkpoint: str = Field(default="checkpoint_final.pth", pattern=r"^[\w.-]+\.pth$")
    configuration: str = ""
    """That of the checkpoint, by default."""
    mirroring: bool = True
    step: float = Field(default=0.5, gt=0, le=1)
    """Of the window."""


class ForeignCard(Card):
    """A card of the collection ``zoo`` with the key ``model.format``."""

    model: ForeignAbout
    network: ForeignNetwork = Field(default_factory=ForeignNetwork)
    inference: InferenceCard | None = None
    intensity: ForeignIntensity | None = None
    nnunet: NnunetSection | None = None

    @model_validator(mode="after")
    def _complete(self) -> ForeignCard:
        if self.model.format == "nnunet":
            if self.inference is not None or self.intensity is not None:
                raise ValueError("plans.json says how a model of nnU-Net works; leave inference and intensity out")
            return self
        if self.nnunet is not None:
            raise ValueError("the section nnunet belongs to the format 'nnunet'")
        if self.model.format != "monai-bundle" and (self.inference is None or self.intensity is None):
            raise ValueError(
                f"the format {self.model.format!r} says nothing about windows and intensity; add the sections "
                "inference (window, grid, weighting) and intensity (scheme)"
            )
        return self
