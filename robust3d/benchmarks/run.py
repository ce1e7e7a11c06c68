# SPDX-License-Identifier: Apache-2.0
"""Plan and run a benchmark: measure the cells that are not stored yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from robust3d.attacks.attack import Attack
from robust3d.benchmarks.cell import CLEAN, Cell
from robust3d.benchmarks.store import Store
from robust3d.data.dataset import Dataset
from robust3d.foundation.digest import digest_json
from robust3d.foundation.errors import InputError
from robust3d.foundation.memory import is_out_of_memory
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume
from robust3d.zoo.members import Member

Report = Callable[[Cell, dict[str, Any] | None, bool], None]
"""Called after every cell with its record (``None`` if it failed) and whether it was stored before."""


@dataclass
class Benchmark:
    """Models x attacks x cases under one threat model.

    Parameters
    ----------
    name : str
        Name in results.
    models : sequence of str
        Names of models in the order of the leaderboard.
    attacks : sequence of Attack
        In the order of the leaderboard's columns.
    dataset : Dataset
        Labelled test cases.
    threat : ThreatModel
        Allowed perturbations.
    seed : int
        Seed of every attack.
    load : callable
        Gives the pipeline of a model's name.
    member : callable
        Gives the model that evaluates a case in the name of another: a fold of a cross-validated one.
    """

    name: str
    models: Sequence[str]
    attacks: Sequence[Attack]
    dataset: Dataset
    threat: ThreatModel
    seed: int
    load: Callable[[str], Pipeline]
    member: Callable[[str, str], Member] = lambda model, _: Member(model)
    classes: Callable[[str], int] | None = None
    """Checks a model of that name without loading it, and gives its classes; by default it is loaded."""
    _volumes: dict[str, str] = field(default_factory=dict)

    def plan(self, model: str) -> Iterator[Cell]:
        """Yield the cells of one model: case by case, the clean one first."""
        for case in self.dataset.names:
            for attack in (None, *self.attacks):
                yield Cell(self.name, model, case, attack, self.threat, self.seed)

    @property
    def size(self) -> int:
        """Number of cells."""
        return len(self.models) * len(self.dataset.names) * (1 + len(self.attacks))

    def run(self, store: Store, report: Report) -> list[dict[str, Any]]:
        """Measure what is missing and return all finished cells in the order of the plan.

        A cell that fails, for its data or for want of memory, is recorded with its reason, and the others go on.

        Raises
        ------
        InputError
            Before anything is computed: a model that cannot be loaded, or an attack that cannot serve it.
        """
        self.check()
        records: list[dict[str, Any]] = []
        for model in self.models:
            loaded: Volume | None = None
            for cell in self.plan(model):
                member = self.member(model, cell.case)
                pipeline = self.load(member.name)
                try:
                    if loaded is None or loaded.name != cell.case:
                        loaded = self._load(cell.case)
                except InputError as error:
                    store.fail(digest_json(cell.names), cell.names, str(error))
                    report(cell, None, False)
                    continue
                record, stored = self._cell(cell, pipeline, loaded, store)
                if record is not None:
                    # A clean cell serves every threat model and seed; the row tells those of this run.
                    records.append(
                        {**record, **cell.names, **member.record(), "threat": self.threat.settings(), "seed": self.seed}
                    )
                report(cell, record, stored)
        return records

    def _cell(self, cell: Cell, pipeline: Pipeline, volume: Volume, store: Store) -> tuple[dict[str, Any] | None, bool]:
        key = cell.key(pipeline, volume.sha256)
        record = store.get(key)
        if record is not None:
            return record, True
        try:
            record = cell.measure(pipeline, volume)
        except InputError as error:
            store.fail(key, cell.names, str(error))
            return None, False
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            store.fail(key, cell.names, f"out of memory on {pipeline.device}: use smaller windows or another device")
            return None, False
        store.put(key, record)
        store.forget(digest_json(cell.names))
        return record, False

    def _load(self, name: str) -> Volume:
        volume = self.dataset.load(name)
        owner = self._volumes.setdefault(volume.sha256, name)
        if owner != name:
            raise InputError(f"cases {owner} and {name} hold the same volume and label; leave one of them out")
        return volume

    def check(self) -> None:
        """Refuse, before anything is computed, names that clash and what an attack cannot serve.

        Raises
        ------
        InputError
            With what to change.
        """
        self._check_names()
        self._check_attacks()

    def _check_attacks(self) -> None:
        """Check every model and refuse, before anything is computed, what an attack cannot serve."""
        members = [self.member(model, case).name for model in self.models for case in self.dataset.names]
        for name in dict.fromkeys(members):
            classes = self.load(name).classes if self.classes is None else self.classes(name)
            for attack in self.attacks:
                attack.check(classes, self.threat)

    def _check_names(self) -> None:
        attacks: Mapping[str, list[str]] = {"model": list(self.models), "attack": [one.name for one in self.attacks]}
        for kind, names in attacks.items():
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise InputError(f"{kind} {twice[0]!r} is named twice; leave one out")
        reserved = {CLEAN, "worst"}.intersection(attacks["attack"])
        if reserved:
            raise InputError(f"an attack cannot be called {reserved.pop()!r}, which is a column of its own; rename it")
