# SPDX-License-Identifier: Apache-2.0
"""Benchmark cards: models, attacks, cases and one threat model."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from robust3d.data.card import CaseSettings
from robust3d.data.dataset import Dataset
from robust3d.data.download import Download
from robust3d.data.origin import Origin
from robust3d.data.splits import find_split
from robust3d.foundation.cards import Card, Reference, read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.segment.precision import Precision
from robust3d.threat.model import ThreatModel


class BenchmarkAbout(Card):
    """Name, title and what is compared."""

    name: str
    title: str
    models: tuple[str, ...] = ()
    """None for a benchmark of whatever model ``--model`` names."""
    attacks: tuple[str, ...] = Field(min_length=1)
    seed: int = 0
    precision: Precision = "exact"
    """Of gradients; every DSC is measured in the model's own precision."""


class BenchmarkData(CaseSettings):
    """Test cases: generated, those of a split, or those of a folder by number."""

    cases: PositiveInt | None = None
    """How many; of a folder by default all."""
    first: NonNegativeInt | None = None
    """Cases of the folder, by name, to leave out before: those that trained or validated the models."""

    def check(self) -> None:
        """Refuse settings that would change nothing, and a missing number of cases."""
        self.check_source(("first",))
        if self.source == "phantom" and self.cases is None:
            raise ValueError("key 'data.cases' is missing")
        if self.split is not None and self.first is not None:
            raise ValueError("data.first has no effect with data.split, whose test cases are used; leave one out")


class ThreatCard(Card):
    """The threat model of the benchmark."""

    norm: Literal["linf", "l2"] = "linf"
    epsilon: NonNegativeFloat | tuple[NonNegativeFloat, ...]
    """One for all channels, or one a channel."""
    unit: str
    valid: tuple[float, float] | tuple[tuple[float, float], ...] | None = None
    """Likewise."""
    storage: Literal["float32", "int16"] = "float32"

    def build(self, **changes: Any) -> ThreatModel:
        """Return the threat model, with other settings where they are given and not ``None``."""
        given = {key: value for key, value in changes.items() if value is not None}
        return ThreatModel.build(**(self.model_dump() | given))


class BenchmarkCard(Card):
    """One file of the collection ``benchmarks``."""

    benchmark: BenchmarkAbout
    data: BenchmarkData
    threat: ThreatCard
    reference: Reference
    download: Download | None = None
    """Where the cases are, if at a stable public address; fetched on demand alone."""
    origin: Origin | None = None
    """Where people get the cases otherwise, and how to tell that they have them."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        self.data.check()
        self.data.check_unit(self.threat.unit)
        if self.download is not None and self.data.source != "folder":
            raise ValueError("the section download has no effect with data.source 'phantom'; leave it out")
        if self.origin is not None and self.data.source != "folder":
            raise ValueError("the section origin has no effect with data.source 'phantom'; leave it out")
        if self.origin is not None and self.origin.modality == "CT" and self.data.rescale is not None:
            raise ValueError("origin.modality 'CT' is checked in HU, which data.rescale takes away; leave one out")
        return self

    def dataset(self, folder: str | None, collections: Collections) -> Dataset:
        """Return the test cases.

        Raises
        ------
        InputError
            If the card wants a folder and none is given, or the other way round; if a case is missing.
        """
        data = self.data
        if data.source == "phantom":
            if folder is not None:
                raise InputError(f"benchmark {self.benchmark.name} generates its cases; leave out --data {folder}")
            return data.phantoms("test", data.cases or 0)
        if folder is None:
            raise InputError(f"benchmark {self.benchmark.name} runs on your own cases; give their folder with --data")
        dataset = data.open_folder(folder)
        if data.split is not None:
            return dataset.only(find_split(data.split, collections).test[: data.cases])
        return dataset.part(data.first or 0, data.cases)


def read_benchmark_card(name: str, collections: Collections) -> BenchmarkCard:
    """Read a benchmark card by name.

    Raises
    ------
    InputError
        If there is no such card, it is wrong, or its name is not its file's.
    """
    path = collections.find("benchmarks", name)
    card = read_card(path, BenchmarkCard)
    if card.benchmark.name != path.stem:
        raise InputError(f"card {path} calls its benchmark {card.benchmark.name!r}; name and file must agree")
    return card
