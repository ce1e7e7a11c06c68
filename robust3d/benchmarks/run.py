# SPDX-License-Identifier: Apache-2.0
"""A benchmark: models x attacks x cases under one threat model, its plan and its finished cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from robust3d.attacks.attack import Attack
from robust3d.benchmarks.cell import CLEAN, Cell
from robust3d.benchmarks.store import Store
from robust3d.data.dataset import Dataset
from robust3d.foundation.errors import InputError
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.supply import check_channels
from robust3d.threat.model import ThreatModel
from robust3d.zoo.card import ResultsCard
from robust3d.zoo.members import Member


@dataclass(frozen=True)
class Plan:
    """All cells of a benchmark, in the order of its tables: model by model, case by case, the clean one first.

    Parameters
    ----------
    cells : sequence of Cell
        What is to be measured.
    tickets : sequence of str
        Of each cell; see :meth:`Cell.ticket`.
    """

    cells: Sequence[Cell]
    tickets: Sequence[str]


@dataclass(frozen=True)
class Gathered:
    """What is finished of a plan.

    Parameters
    ----------
    records : list of dict
        Cells in the order of the plan.
    repeated : set of int
        Places of finished cells that are left out, since their case holds the volume and label of an earlier one.
    """

    records: list[dict[str, Any]]
    repeated: set[int]


@dataclass(frozen=True)
class Benchmark:
    """Models x attacks x cases under one threat model.

    Parameters
    ----------
    name, title : str
        Name in results and title of tables.
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
        Gives the member of a model that evaluates a case; the model itself by default.
    figures : mapping of str to ResultsCard
        What the cards of the models say that they reached.
    """

    name: str
    title: str
    models: Sequence[str]
    attacks: Sequence[Attack]
    dataset: Dataset
    threat: ThreatModel
    seed: int
    load: Callable[[str], Pipeline]
    member: Callable[[str, str], Member] = lambda model, _: Member(model)
    figures: Mapping[str, ResultsCard] = field(default_factory=dict)

    def pipeline(self, cell: Cell) -> Pipeline:
        """Return what measures a cell."""
        return self.load(self.member(cell.model, cell.case).name)

    def cells(self) -> list[Cell]:
        """Return all cells in the order of the plan."""
        return [
            Cell(self.name, model, case, attack, self.threat, self.seed)
            for model in self.models
            for case in self.dataset.names
            for attack in (None, *self.attacks)
        ]

    def plan(self) -> Plan:
        """Load every model, check that the attacks can serve it, and return the plan.

        Raises
        ------
        InputError
            A name that is given twice or reserved, a model that cannot be loaded or was trained on a case, an attack
            that cannot serve it, or cases of other channels than the model or the threat model has.
        """
        self._check_names()
        channels = self.dataset.channels
        self.threat.check_channels(channels)
        cells = self.cells()
        tickets: list[str] = []
        for cell in cells:
            pipeline = self.pipeline(cell)
            check_channels(channels, pipeline.channels, f"case {cell.case}")
            if cell.attack is not None:
                cell.attack.check(pipeline.classes, self.threat)
            tickets.append(cell.ticket(pipeline))
        return Plan(cells, tickets)

    def gather(self, store: Store, plan: Plan, keys: Mapping[int, str]) -> Gathered:
        """Return the finished cells, named as this benchmark names them.

        Parameters
        ----------
        store : Store
            Holds them.
        plan : Plan
            Of this benchmark.
        keys : mapping of int to str
            Key of each finished cell by its place in the plan. A case that holds the same volume and label as an
            earlier one is recorded as failed.

        Raises
        ------
        InputError
            If the file of one is gone.
        """
        gone = [key for key in keys.values() if not store.has(key)]
        if gone:
            raise InputError(
                f"{len(gone)} finished cells are gone from {store.root / 'cells'}, which was emptied or removed during "
                "the run; call the same command again"
            )
        owners: dict[str, str] = {}
        records: list[dict[str, Any]] = []
        repeated: set[int] = set()
        for place, cell in enumerate(plan.cells):
            record = store.get(keys[place]) if place in keys else None
            if record is None:
                continue
            owner = owners.setdefault(record["volume_sha256"], cell.case)
            if owner != cell.case:
                reason = f"cases {owner} and {cell.case} hold the same volume and label; leave one of them out"
                store.fail(plan.tickets[place], cell.names, reason)
                repeated.add(place)
                continue
            # A clean cell serves every threat model and seed; the row tells those of this run.
            told = {**cell.names, **self.member(cell.model, cell.case).record()}
            records.append({**record, **told, "threat": self.threat.settings(), "seed": self.seed})
        return Gathered(records, repeated)

    def _check_names(self) -> None:
        attacks: Mapping[str, list[str]] = {"model": list(self.models), "attack": [one.name for one in self.attacks]}
        for kind, names in attacks.items():
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise InputError(f"{kind} {twice[0]!r} is named twice; leave one out")
        reserved = {CLEAN, "worst"}.intersection(attacks["attack"])
        if reserved:
            raise InputError(f"an attack cannot be called {reserved.pop()!r}, which is a column of its own; rename it")
