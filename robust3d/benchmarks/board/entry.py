# SPDX-License-Identifier: Apache-2.0
"""Entry: the results of one model in one benchmark, a file of the public leaderboard."""

from __future__ import annotations

import datetime
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt

from robust3d.benchmarks.card import ThreatCard
from robust3d.benchmarks.results import ClassCounts, counted_dsc
from robust3d.foundation.text import refuse_control

SCHEMA = 1
"""Version of an entry's content."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# Names become file names and table cells.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+@-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=120)]
Text = Annotated[str, Field(max_length=500), AfterValidator(refuse_control)]
# Nothing but https, since a page makes links of them.
Link = Annotated[str, Field(pattern=r"^https://[^\s\"'<>\\]+$", max_length=500)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Part(BaseModel):
    """Base of all parts of an entry: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class BenchmarkPart(Part):
    """Which benchmark was run."""

    name: Name
    card_sha256: Sha256
    """SHA-256 of the card's cases, threat model, attacks and seed."""
    cell_schema: int
    """Version of the content of cells, a part of their keys."""


class ModelPart(Part):
    """Which model was measured."""

    name: Name
    """As in the zoo, or NAME/coarse for one stage."""
    description: Text
    defense: Text
    data: Text
    """What it was trained on."""
    licence: Text
    link: Link | None = None
    """Where the weights or the paper are."""
    card_sha256: Sha256
    """SHA-256 of the model's card without its results."""
    weights_sha256: Sha256
    pipeline: dict[str, Any]
    """Settings of everything but the weights."""


class CasePart(Part):
    """A test case."""

    case: Name
    volume_sha256: Sha256
    """SHA-256 of image, label and geometry."""


class AttackPart(Part):
    """An attack and its settings."""

    name: Name
    bounded: bool
    """Whether it keeps to the threat model's epsilon; others count for no worst case."""
    settings: dict[str, Any]


class CellPart(Part):
    """The prediction for one case, clean or under one attack."""

    case: Name
    attack: Name
    cell: Sha256 | None
    """SHA-256 of everything that decides the result; null only under attacks made outside robust3d."""
    dsc: float = Field(ge=0, le=1)
    """Mean over foreground classes, from 0 to 1."""
    linf: NonNegativeFloat
    """Largest change of a voxel, in the volume's unit."""
    distance: NonNegativeFloat
    """Norm of the change, in the threat model's unit."""
    gradients: NonNegativeInt | None
    """Whole-volume gradients that the attack took; null where unknown."""
    queries: NonNegativeInt | None
    """Whole-volume predictions that the attack took; null where unknown."""
    classes: dict[str, ClassCounts] = Field(min_length=1)
    """Voxel counts by foreground class."""

    @property
    def counted(self) -> float:
        """Mean DSC of the classes from their counts, from 0 to 1."""
        return counted_dsc(self.classes)


class Evidence(Part):
    """What a claim rests on."""

    url: Link
    """Code, paper or the adversarial volumes themselves."""
    sha256: Sha256
    """SHA-256 of the file at the address, so that it cannot change."""


class Claim(Part):
    """A stronger attack by somebody else, within the same threat model and on the same cases."""

    attack: Name
    settings: dict[str, Any] | None
    """Of an attack that robust3d ran; null for one made outside it."""
    by: Text
    date: datetime.date
    evidence: Evidence
    cells: tuple[CellPart, ...] = Field(min_length=1)


class Submitted(Part):
    """Who added the entry, and when."""

    by: Text
    date: datetime.date


class Summary(Part):
    """The row of the leaderboard, recomputed from the cells by whoever checks it; DSC in percent."""

    cases: int
    clean_dsc: Percent
    """Mean over cases without an attack."""
    clean_std: NonNegativeFloat
    """Standard deviation over cases, points."""
    attacks: dict[str, Percent]
    """Mean over cases under each attack."""
    worst_dsc: Percent | None
    """Mean over cases of the lowest DSC under any attack within epsilon; null where there is none."""
    drop: float | None
    """Clean mean minus the lowest mean under an attack within epsilon, points."""
    drop_ci_low: float | None
    """Lower end of the paired bootstrap 95% interval of the drop; null for a single case."""
    drop_ci_high: float | None
    """Upper end of the same."""


class Entry(Part):
    """One file of the public leaderboard: a model in a benchmark."""

    version: Literal[1] = Field(alias="schema")
    benchmark: BenchmarkPart
    model: ModelPart
    threat: ThreatCard
    seed: int
    """Of every attack."""
    environment: dict[str, Any]
    """Versions and device that measured."""
    submitted: Submitted
    summary: Summary
    cases: tuple[CasePart, ...] = Field(min_length=1)
    attacks: tuple[AttackPart, ...]
    cells: tuple[CellPart, ...] = Field(min_length=1)
    external: tuple[Claim, ...] = ()
    """Stronger attacks by others, which lower what is known of the model."""

    @property
    def file(self) -> str:
        """Path of the entry in a collection."""
        return f"{self.benchmark.name}/{self.model.name.replace('/', '__')}.json"

    def text(self) -> str:
        """Return the file's content: a key or an element of a list a line, so that changes can be read."""
        content = self.model_dump(mode="json", by_alias=True)
        lines = [f" {json.dumps(key)}: {_value(value)}" for key, value in content.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"


def _value(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    return "[\n" + ",\n".join(f"  {json.dumps(one)}" for one in value) + "\n ]"
