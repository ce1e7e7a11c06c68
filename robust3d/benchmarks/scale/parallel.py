# SPDX-License-Identifier: Apache-2.0
"""Cells of a plan measured by supervised worker processes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robust3d.benchmarks.request import RunRequest
from robust3d.benchmarks.run import Plan
from robust3d.benchmarks.scale.claims import Claims
from robust3d.benchmarks.scale.losses import LIMIT, Losses
from robust3d.benchmarks.scale.outcome import Outcome
from robust3d.benchmarks.scale.pulse import Pulse
from robust3d.benchmarks.scale.queue import Queue
from robust3d.benchmarks.scale.runner import RETRY, Runner
from robust3d.benchmarks.scale.supervisor import Events, Supervisor
from robust3d.benchmarks.scale.worker import Slot
from robust3d.benchmarks.store import Store
from robust3d.foundation.allocator import keep_freed_memory


@dataclass(frozen=True)
class OpenRunner:
    """The job of a worker: open the benchmark on its device and measure cells by their places in the plan.

    Parameters
    ----------
    request : RunRequest
        The benchmark.
    root : Path
        Run folder.
    since : int
        See :class:`Runner`.
    """

    request: RunRequest
    root: Path
    since: int

    def __call__(self, slot: Slot, pulse: Pulse) -> Runner:
        """Return the runner of one worker."""
        keep_freed_memory()
        return Runner(self.request.open(slot.device), Store(self.root), pulse, self.since)


def run_in_workers(
    job: OpenRunner,
    store: Store,
    plan: Plan,
    places: Sequence[int],
    slots: Sequence[Slot],
    patience: float,
    done: Callable[[int, Outcome], None],
) -> None:
    """Measure cells in worker processes; a cell that ends two of them, on any machine, is set aside as failed."""
    claims, losses = Claims(store), Losses(store)

    def lost(place: int, pid: int, how: str) -> bool:
        cell, ticket = plan.cells[place], plan.tickets[place]
        name = f"{cell.model}, {cell.attack_name}, {cell.case}"
        warnings.warn(f"worker {pid} {how} in {name}; another takes its place", RuntimeWarning, stacklevel=2)
        reasons = losses.add(ticket, f"one {how}")
        if len(reasons) < LIMIT:
            return False
        store.fail(ticket, cell.names, f"{len(reasons)} workers ended in it: {', '.join(reasons)}", set_aside=True)
        losses.forget(ticket)
        done(place, Outcome("failed"))
        return True

    queue = Queue({place: (plan.cells[place].model, plan.cells[place].case) for place in places})
    Supervisor(job, slots, queue, Events(done, lost, claims.drop), patience=patience, retry=RETRY).run()
