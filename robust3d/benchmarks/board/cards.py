# SPDX-License-Identifier: Apache-2.0
"""What an entry must agree with outside itself: the cards of benchmark, model and attacks, weights and volumes."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robust3d.benchmarks.attacks import find_attack
from robust3d.benchmarks.board.entry import Entry
from robust3d.benchmarks.card import BenchmarkCard, read_benchmark_card
from robust3d.data.splits import find_split
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.digest import digest_json
from robust3d.foundation.errors import InputError
from robust3d.segment.pipeline import Pipeline
from robust3d.zoo.card import ModelCard
from robust3d.zoo.load import load_model, split_name


def benchmark_digest(path: Path) -> str:
    """Return the SHA-256 of what decides a benchmark's results: cases, threat model, attacks and seed.

    Models and texts of the card may change.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    about = {key: content["benchmark"].get(key) for key in ("name", "attacks", "seed")}
    return digest_json({"benchmark": about, "data": content["data"], "threat": content["threat"]})


def model_digest(path: Path) -> str:
    """Return the SHA-256 of a model's card but for the results that it tells."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return digest_json({key: value for key, value in content.items() if key != "results"})


class Cards:
    """The cards that entries are compared with; each is read, and each model loaded, once.

    Parameters
    ----------
    collections : Collections
        Where cards lie.
    volumes : bool
        Whether test cases are generated, or read from ``data``, to compare their hashes: a second or so a case.
    data : Path, optional
        Folder in any layout that robust3d data check knows, for benchmarks that do not generate their cases.
    """

    def __init__(self, collections: Collections, *, volumes: bool = False, data: Path | None = None) -> None:
        self.collections = collections
        self.volumes = volumes
        self.data = data
        self._models: dict[str, Pipeline] = {}
        self._hashes: dict[str, dict[str, str]] = {}

    def problems(self, entry: Entry) -> list[str]:
        """Return everything in which an entry differs from the cards, a clause each."""
        found = [*self._benchmark(entry)]
        if self._model_name(entry) in self.collections.entries("zoo"):
            found += self._model(entry)
        return found

    def notes(self, entry: Entry) -> list[str]:
        """Return what could not be compared, a clause each."""
        found = []
        if entry.benchmark.name not in self.collections.entries("benchmarks"):
            found.append(f"no card of benchmark {entry.benchmark.name} here: cases and attacks not compared with it")
        if self._model_name(entry) not in self.collections.entries("zoo"):
            found.append(f"model {self._model_name(entry)} is not in a zoo here: card and weights not compared")
        attacks = [one.name for one in entry.attacks if not self._known(one.name)]
        if attacks:
            found.append(f"no card of {', '.join(attacks)} here: settings not compared")
        return found

    def load(self, name: str) -> Pipeline:
        """Return a model on the CPU; its weight files are checked against the hashes in its card."""
        if name not in self._models:
            self._models[name] = load_model(name, device="cpu", collections=self.collections)
        return self._models[name]

    def _benchmark(self, entry: Entry) -> Iterator[str]:
        name = entry.benchmark.name
        if name not in self.collections.entries("benchmarks"):
            return
        card = read_benchmark_card(name, self.collections)
        yield from _differ("card of the benchmark", entry.benchmark.card_sha256, benchmark_digest(self._path(name)))
        if entry.threat.build() != card.threat.build():
            yield f"threat model is {entry.threat.build()} and the benchmark's {card.threat.build()}"
        if entry.seed != card.benchmark.seed:
            yield f"seed is {entry.seed} and the benchmark's {card.benchmark.seed}"
        wanted = card.data.cases
        if card.data.split is not None:
            wanted = len(find_split(card.data.split, self.collections).test[:wanted])
        # Without a number, the benchmark takes all cases of a folder.
        if wanted is not None and len(entry.cases) != wanted:
            yield f"{len(entry.cases)} cases and the benchmark has {wanted}"
        lacking = [one for one in card.benchmark.attacks if one not in {own.name for own in entry.attacks}]
        if lacking:
            yield f"lacks {', '.join(lacking)}, which the benchmark has"
        yield from self._attacks(entry)
        if self.volumes:
            yield from self._volumes(entry, card)

    def _attacks(self, entry: Entry) -> Iterator[str]:
        for own in entry.attacks:
            if not self._known(own.name):
                continue
            attack = find_attack(own.name, self.load, self.collections)
            if attack.settings() != own.settings:
                yield f"settings of {own.name} are not those of its card"
            if attack.bounded != own.bounded:
                yield f"{own.name} has bounded = {own.bounded} and its card {attack.bounded}"

    def _volumes(self, entry: Entry, card: BenchmarkCard) -> Iterator[str]:
        name = entry.benchmark.name
        if name not in self._hashes:
            folder = None if card.data.source == "phantom" or self.data is None else str(self.data)
            dataset = card.dataset(folder, self.collections)
            self._hashes[name] = {case: dataset.load(case).sha256 for case in dataset.names}
        hashes = self._hashes[name]
        for one in entry.cases:
            if one.case not in hashes:
                yield f"case {one.case} is not one of the benchmark's"
            else:
                yield from _differ(f"volume {one.case}", one.volume_sha256, hashes[one.case])

    def _model(self, entry: Entry) -> Iterator[str]:
        own = entry.model
        path = self.collections.find("zoo", self._model_name(entry))
        card = read_card(path, ModelCard)
        yield from _differ("card of the model", own.card_sha256, model_digest(path))
        about = card.model
        for key in ("description", "defense", "data", "licence"):
            if getattr(own, key) != getattr(about, key):
                yield f"{key} of the model is not that of its card"
        try:
            pipeline = self.load(own.name)
        except InputError as error:
            yield str(error)
            return
        yield from _differ("weights", own.weights_sha256, pipeline.weights_sha256)
        if _without_precision(own.pipeline) != _without_precision(pipeline.settings()):
            yield "pipeline is not that of the model's card"

    def _known(self, attack: str) -> bool:
        name, _, source = attack.partition("@")
        zoo = self.collections.entries("zoo")
        return name in self.collections.entries("attacks") and (not source or split_name(source)[0] in zoo)

    def _model_name(self, entry: Entry) -> str:
        return split_name(entry.model.name)[0]

    def _path(self, benchmark: str) -> Path:
        return self.collections.find("benchmarks", benchmark)


def _differ(what: str, own: str, other: str) -> Iterator[str]:
    if own != other:
        yield f"{what} has hash {own[:12]} and the one here {other[:12]}"


def _without_precision(settings: Any) -> Any:
    """Return settings without the precision of gradients, which is the machine's that measured."""
    if not isinstance(settings, dict):
        return settings
    return {key: _without_precision(value) for key, value in settings.items() if key != "gradients"}
