# SPDX-License-Identifier: Apache-2.0
"""One call of ``robust3d run``: measure a shard of the plan, then gather what is finished of the whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from robust3d.benchmarks.cell import Cell
from robust3d.benchmarks.expectation import CleanExpectation
from robust3d.benchmarks.request import RunRequest
from robust3d.benchmarks.run import Benchmark, Plan
from robust3d.benchmarks.scale.outcome import Outcome
from robust3d.benchmarks.scale.parallel import OpenRunner, run_in_workers
from robust3d.benchmarks.scale.plans import write_plan
from robust3d.benchmarks.scale.pulse import PATIENCE, Pulse, check_patience
from robust3d.benchmarks.scale.runner import Runner, run_here
from robust3d.benchmarks.scale.shard import Shard
from robust3d.benchmarks.scale.slots import share_machine
from robust3d.benchmarks.store import Store
from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder

Report = Callable[[Cell, dict[str, Any] | None, bool], None]
"""Called after every cell with its record (``None`` if it failed) and whether it was stored before."""


@dataclass(frozen=True)
class Session:
    """What a run found.

    Parameters
    ----------
    benchmark : Benchmark
        The benchmark.
    records : list of dict
        Finished cells in the order of the plan.
    failed : list of Cell
        In the order of the plan.
    unfinished : int
        Cells of other shards that are neither finished nor failed; ``records`` is empty unless it is zero.
    """

    benchmark: Benchmark
    records: list[dict[str, Any]]
    failed: list[Cell]
    unfinished: int


def run_benchmark(
    request: RunRequest,
    store: Store,
    *,
    shard: Shard,
    workers: int | None = None,
    patience: float = PATIENCE,
    started: Callable[[Benchmark, Plan, range], Report],
) -> Session:
    """Measure the cells of a shard that are not stored yet, and gather the results of all once all are there.

    Parameters
    ----------
    request : RunRequest
        The benchmark.
    store : Store
        The run folder; other processes may work on it.
    shard : Shard
        Which cells.
    workers : int or None
        Number of worker processes; ``None``: this process does the work.
    patience : float
        Seconds without progress after which a worker is ended.
    started : callable
        Called with the benchmark, its plan and the places of this shard once everything is checked; gives what to
        report to.

    Raises
    ------
    InputError
        Before anything is computed: a card, model, attack, shard, number of workers or patience that cannot be
        used.
    """
    check_patience(patience)
    make_folder(store.root)
    benchmark = request.open()
    plan = benchmark.plan()
    places = shard.places(len(plan.cells))
    slots = None if workers is None else share_machine(workers, request.device)
    write_plan(store, benchmark, plan, shard.count)
    since = store.now()
    keys: dict[int, str] = {}
    report = started(benchmark, plan, places)
    expectation = CleanExpectation(benchmark.figures)

    def done(place: int, outcome: Outcome) -> None:
        cell, record = plan.cells[place], None
        if outcome.key:
            keys[place] = outcome.key
            record = store.get(outcome.key)
        if record is not None and cell.attack is None:
            expectation.add(cell.model, record["dsc"])
        report(cell, record, outcome.state == "stored")

    pulse = Pulse(patience)
    runner = Runner(benchmark, store, pulse, since)
    if slots is None:
        run_here(runner, pulse, places, done)
    else:
        run_in_workers(OpenRunner(request, store.root, since), store, plan, places, slots, patience, done)
    unfinished = _unfinished(store, plan, places) if shard.count > 1 else 0
    if unfinished:
        return Session(benchmark, [], _failed(plan, keys, places), unfinished)
    if shard.count > 1:
        keys |= _keys_of_others(runner, store, len(plan.cells), keys)
    gathered = benchmark.gather(store, plan, keys)
    failed = _failed(plan, keys, range(len(plan.cells)), gathered.repeated)
    return Session(benchmark, gathered.records, failed, 0)


def _unfinished(store: Store, plan: Plan, own: range) -> int:
    settled = store.finished().keys() | store.failures().keys()
    return sum(place not in own and ticket not in settled for place, ticket in enumerate(plan.tickets))


def _failed(plan: Plan, keys: Mapping[int, str], places: range, repeated: Collection[int] = ()) -> list[Cell]:
    """Return cells that have no key now: a failure of an earlier run does not count; and those that repeat a case."""
    return [plan.cells[place] for place in places if place not in keys or place in repeated]


def _keys_of_others(runner: Runner, store: Store, size: int, own: Mapping[int, str]) -> dict[int, str]:
    """Return keys of the finished cells of other shards; reads their volumes, since a key holds the volume's hash."""
    found = {}
    for place in range(size):
        if place in own:
            continue
        try:
            key = runner.key(place)
        except InputError:
            continue
        if store.get(key) is not None:
            found[place] = key
    return found
