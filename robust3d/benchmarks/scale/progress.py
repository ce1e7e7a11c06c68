# SPDX-License-Identifier: Apache-2.0
"""Progress of a run folder: all processes, machines and shards that work on it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robust3d.benchmarks.scale.claims import Claims
from robust3d.benchmarks.scale.plans import StoredCell, StoredPlan, read_plans
from robust3d.benchmarks.scale.shard import Shard
from robust3d.benchmarks.store import Store
from robust3d.foundation.errors import InputError


@dataclass(frozen=True)
class Progress:
    """Counts of cells; each cell is in one of ``done`` to ``waiting``.

    Parameters
    ----------
    cells : int
        All of them.
    done, running, failed, set_aside, waiting : int
        Stored; claimed by a process that lives; failed; failed by ending its workers; none of these.
    seconds_left : float or None
        What is not done or failed, each at the mean seconds of the finished cells of its model and attack (of all where
        there is none), shared by the cells that run now; ``None`` if nothing runs or nothing is finished.
    """

    cells: int
    done: int
    running: int
    failed: int
    set_aside: int
    waiting: int
    seconds_left: float | None


@dataclass(frozen=True)
class PlanProgress:
    """Progress of one plan.

    Parameters
    ----------
    plan : StoredPlan
        The plan.
    whole : Progress
        Of all cells.
    shards : sequence of Progress
        Of each shard; empty if there is only one.
    """

    plan: StoredPlan
    whole: Progress
    shards: Sequence[Progress]


@dataclass(frozen=True)
class _State:
    seconds: Mapping[str, float]
    running: set[str]
    set_aside: Mapping[str, bool]

    def of(self, cells: Sequence[StoredCell]) -> Progress:
        done = [cell for cell in cells if cell.ticket in self.seconds]
        open_cells = [cell for cell in cells if cell.ticket not in self.seconds]
        running = [cell for cell in open_cells if cell.ticket in self.running]
        idle = [cell for cell in open_cells if cell.ticket not in self.running]
        failed = [cell for cell in idle if self.set_aside.get(cell.ticket) is False]
        aside = [cell for cell in idle if self.set_aside.get(cell.ticket) is True]
        waiting = [cell for cell in idle if cell.ticket not in self.set_aside]
        left = self._seconds_left(done, [*running, *waiting], len(running))
        return Progress(len(cells), len(done), len(running), len(failed), len(aside), len(waiting), left)

    def _seconds_left(self, done: list[StoredCell], left: list[StoredCell], running: int) -> float | None:
        if not left:
            return 0.0
        if not done or not running:
            return None
        known: dict[tuple[str, str], list[float]] = {}
        for cell in done:
            known.setdefault((cell.model, cell.attack), []).append(self.seconds[cell.ticket])
        mean = float(np.mean([value for values in known.values() for value in values]))
        return sum(float(np.mean(known.get((cell.model, cell.attack), [mean]))) for cell in left) / running


def read_progress(root: Path) -> list[PlanProgress]:
    """Return the progress of every plan in a run folder, the latest first.

    Raises
    ------
    InputError
        If the folder holds no run, or a file in it is damaged.
    """
    plans = read_plans(root)
    store = Store(root)
    state = _State(
        seconds=store.finished(),
        running={claim.ticket for claim in Claims(store).live(_now(store))},
        set_aside={ticket: bool(failure.get("set_aside")) for ticket, failure in store.failures().items()},
    )
    return [_progress(plan, state) for plan in plans]


def _now(store: Store) -> int:
    try:
        return store.now()
    except InputError:
        # Who may only read takes this machine's clock.
        return time.time_ns()


def _progress(plan: StoredPlan, state: _State) -> PlanProgress:
    shards = [Shard(index + 1, plan.shards).places(len(plan.cells)) for index in range(plan.shards)]
    parts = [state.of([plan.cells[place] for place in places]) for places in shards]
    return PlanProgress(plan, state.of(plan.cells), parts if plan.shards > 1 else ())
