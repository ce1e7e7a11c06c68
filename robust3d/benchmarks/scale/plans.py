# SPDX-License-Identifier: Apache-2.0
"""Plans in the run folder, so that its progress can be told without models and volumes."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from robust3d.benchmarks.run import Benchmark, Plan
from robust3d.benchmarks.store import Store
from robust3d.foundation.digest import digest_json
from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder, write_text


class StoredCell(BaseModel):
    """A cell of a stored plan."""

    model_config = ConfigDict(frozen=True, strict=True)

    ticket: str
    model: str
    attack: str
    case: str


class StoredPlan(BaseModel):
    """A plan as it lies in ``plans/``: title, threat model, number of shards in the latest run, cells in order."""

    model_config = ConfigDict(frozen=True, strict=True)

    title: str
    threat: str
    shards: PositiveInt
    cells: list[StoredCell]


def write_plan(store: Store, benchmark: Benchmark, plan: Plan, shards: int) -> None:
    """Note the plan of a run in its folder."""
    cells = [
        StoredCell(ticket=ticket, model=cell.model, attack=cell.attack_name, case=cell.case)
        for cell, ticket in zip(plan.cells, plan.tickets, strict=True)
    ]
    stored = StoredPlan(title=benchmark.title, threat=str(benchmark.threat), shards=shards, cells=cells)
    path = make_folder(store.root / "plans") / f"{digest_json(list(plan.tickets))}.json"
    write_text(path, stored.model_dump_json() + "\n")


def read_plans(root: Path) -> list[StoredPlan]:
    """Return the plans of a run folder, the latest first.

    Raises
    ------
    InputError
        If the folder has none, or one is damaged.
    """
    paths = sorted((root / "plans").glob("[!.]*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    if not paths:
        raise InputError(f"{root} holds no run; give the folder that was --out of robust3d run or submit")
    return [_read(path) for path in paths]


def _read(path: Path) -> StoredPlan:
    try:
        return StoredPlan.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(f"plan {path} cannot be read: {error}; delete it, the next run writes it anew") from error
