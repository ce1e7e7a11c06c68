# SPDX-License-Identifier: Apache-2.0
"""Benchmark cards: models, attacks, cases and one threat model."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from robust3d.data.dataset import Dataset
from robust3d.data.folder import FolderDataset
from robust3d.data.phantoms import PhantomDataset
from robust3d.foundation.cards import Card, Reference, read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.segment.precision import Precision
from robust3d.threat.model import ThreatModel


class BenchmarkAbout(Card):
    """Name, title and what is compared."""

    name: str
    title: str
    models: tuple[str, ...] = Field(min_length=1)
    attacks: tuple[str, ...] = Field(min_length=1)
    seed: int = 0
    precision: Precision = "exact"
    """Of gradients; every DSC is measured in the model's own precision."""


class BenchmarkData(Card):
    """Test cases: generated, or the labelled training part of an nnU-Net raw folder given by ``--data``."""

    source: Literal["phantom", "folder"]
    cases: PositiveInt
    first: NonNegativeInt = 0
    """Cases of the folder, by name, to leave out before: those that trained or validated the models."""
    shape: tuple[int, int, int] = (112, 96, 80)
    spacing: tuple[float, float, float] = (3.0, 3.0, 4.0)

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        generated = self.model_fields_set & {"shape", "spacing"}
        if self.source == "folder" and generated:
            raise InputError(f"{generated.pop()} is that of generated cases; leave it out with source = 'folder'")
        if self.source == "phantom" and self.first:
            raise InputError("first counts cases of a folder; leave it out with source = 'phantom'")
        return self


class ThreatCard(Card):
    """The threat model of the benchmark."""

    norm: Literal["linf", "l2"] = "linf"
    epsilon: NonNegativeFloat
    unit: str
    valid: tuple[float, float] | None = None
    storage: Literal["float32", "int16"] = "float32"

    def build(self, **changes: Any) -> ThreatModel:
        """Return the threat model, with other settings where they are given and not ``None``."""
        given = {key: value for key, value in changes.items() if value is not None}
        return ThreatModel(**(self.model_dump() | given))


class BenchmarkCard(Card):
    """One file of the collection ``benchmarks``."""

    benchmark: BenchmarkAbout
    data: BenchmarkData
    threat: ThreatCard
    reference: Reference

    def dataset(self, folder: str | None = None) -> Dataset:
        """Return the test cases.

        Raises
        ------
        InputError
            If the card wants a folder and none is given, or the other way round.
        """
        if self.data.source == "phantom":
            if folder is not None:
                raise InputError(f"benchmark {self.benchmark.name} generates its cases; leave out --data {folder}")
            return PhantomDataset("test", self.data.cases, self.data.shape, self.data.spacing)
        if folder is None:
            raise InputError(f"benchmark {self.benchmark.name} runs on your own cases; give their folder with --data")
        return FolderDataset.open(folder, first=self.data.first, limit=self.data.cases)


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
