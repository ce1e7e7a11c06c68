# SPDX-License-Identifier: Apache-2.0
"""Runner: measures cells of a plan in this process, one at a time, each claimed while it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from robust3d.benchmarks.cell import Cell
from robust3d.benchmarks.run import Benchmark
from robust3d.benchmarks.scale.claims import Claims
from robust3d.benchmarks.scale.losses import Losses
from robust3d.benchmarks.scale.outcome import Outcome
from robust3d.benchmarks.scale.pulse import Pulse
from robust3d.benchmarks.store import Store
from robust3d.foundation.errors import InputError
from robust3d.foundation.memory import is_out_of_memory
from robust3d.volume.volume import Volume

RETRY = 2.0
"""Seconds until a cell that another process measures is looked at again."""


@dataclass(frozen=True)
class _Identity:
    ticket: str
    key: str


class Runner:
    """Measures cells by their places in the plan; keeps the last case.

    Parameters
    ----------
    benchmark : Benchmark
        What to measure.
    store : Store
        Where cells are kept.
    pulse : Pulse
        Beats as long as this process makes progress; the claim is renewed with it.
    since : int
        Moment of the store's clock; what failed later is not tried again.
    """

    def __init__(self, benchmark: Benchmark, store: Store, pulse: Pulse, since: int) -> None:
        self._benchmark = benchmark
        self._cells = benchmark.cells()
        self._store = store
        self._claims = Claims(store)
        self._losses = Losses(store)
        self._pulse = pulse
        self._since = since
        self._known: dict[int, _Identity] = {}
        self._volume: Volume | None = None
        self._hashes: dict[str, str] = {}
        pulse.listeners.append(self._claims.renew)

    def __call__(self, place: int) -> Outcome:
        """Measure a cell unless it is stored, claimed by another process, or has failed since the run began."""
        self._pulse.moved()
        cell = self._cells[place]
        try:
            identity = self._identify(place)
        except InputError as error:
            self._store.fail(cell.ticket(self._benchmark.pipeline(cell)), cell.names, str(error))
            return Outcome("failed")
        if self._stored(identity):
            return Outcome("stored", identity.key)
        with self._claims.hold(identity.ticket) as held:
            if not held:
                return Outcome("busy")
            # Another may have finished it between the two looks.
            if self._stored(identity):
                return Outcome("stored", identity.key)
            if self._store.failed_since(identity.ticket, self._since):
                return Outcome("failed")
            return self._measure(cell, identity)

    def key(self, place: int) -> str:
        """Return the key of a cell.

        Raises
        ------
        InputError
            If its case cannot be read.
        """
        return self._identify(place).key

    def _measure(self, cell: Cell, identity: _Identity) -> Outcome:
        pipeline = self._benchmark.pipeline(cell)
        try:
            record = cell.measure(pipeline, self._load(cell.case))
        except InputError as error:
            self._store.fail(identity.ticket, cell.names, str(error))
            return Outcome("failed")
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = f"out of memory on {pipeline.device}: use smaller windows, fewer workers or another device"
            self._store.fail(identity.ticket, cell.names, reason)
            return Outcome("failed")
        self._store.put(identity.key, record)
        self._losses.forget(identity.ticket)
        return Outcome("measured", identity.key)

    def _stored(self, identity: _Identity) -> bool:
        if self._store.found(identity.key, identity.ticket) is None:
            return False
        # A worker may have ended after it stored the cell and before it could say so.
        self._losses.forget(identity.ticket)
        return True

    def _identify(self, place: int) -> _Identity:
        if place not in self._known:
            cell = self._cells[place]
            pipeline = self._benchmark.pipeline(cell)
            key = cell.key(pipeline, self._sha256(cell.case))
            self._known[place] = _Identity(cell.ticket(pipeline), key)
        return self._known[place]

    def _sha256(self, case: str) -> str:
        # Kept, since cells of one case are far apart in a plan of several models.
        if case not in self._hashes:
            self._hashes[case] = self._load(case).sha256
        return self._hashes[case]

    def _load(self, case: str) -> Volume:
        if self._volume is None or self._volume.name != case:
            self._volume = None
            self._volume = self._benchmark.dataset.load(case)
        return self._volume


def run_here(runner: Runner, pulse: Pulse, places: Iterable[int], done: Callable[[int, Outcome], None]) -> None:
    """Measure cells in this process; those that others measure are waited for."""
    waiting = list(places)
    with pulse.beating():
        while waiting:
            busy = []
            for place in waiting:
                outcome = runner(place)
                if outcome.state == "busy":
                    busy.append(place)
                else:
                    done(place, outcome)
            waiting = busy
            if waiting:
                time.sleep(RETRY)
