# SPDX-License-Identifier: Apache-2.0
"""Supervisor: keeps a worker in every slot, gives out tasks, and notices workers that end or hang."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from robust3d.benchmarks.scale.outcome import Outcome
from robust3d.benchmarks.scale.pulse import PATIENCE
from robust3d.benchmarks.scale.queue import Queue
from robust3d.benchmarks.scale.worker import Job, Slot, serve
from robust3d.foundation.errors import InputError

_TURN = 0.5
"""Seconds between two looks at workers that send nothing."""

_STARTS = 3
"""Workers in a row that may end before their job is open."""


@dataclass(frozen=True)
class Events:
    """What a supervisor tells of.

    Parameters
    ----------
    done : callable
        A task and its outcome, but for ``"busy"``.
    lost : callable
        A task whose worker ended, its process number and how it ended; returns whether to give the task up.
    ended : callable
        Process number of any worker that has ended.
    """

    done: Callable[[int, Outcome], None]
    lost: Callable[[int, int, str], bool]
    ended: Callable[[int], None]


class _Worker:
    """A process and what it is at."""

    def __init__(self, job: Job, slot: Slot, patience: float) -> None:
        # A forked child of a process that has threads or a CUDA context cannot use them.
        context = multiprocessing.get_context("spawn")
        self.slot = slot
        self.ready = False
        self.task: int | None = None
        self.last: int | None = None
        self.pipe, self._theirs = context.Pipe()
        self.beat: Any = context.Value("d", time.monotonic(), lock=False)
        self.process = context.Process(target=serve, args=(job, slot, self._theirs, self.beat, patience), daemon=True)

    def start(self) -> None:
        with _environment(OMP_NUM_THREADS=str(self.slot.threads)):
            self.process.start()
        self._theirs.close()

    def give(self, task: int) -> None:
        self.task = self.last = task
        self.beat.value = time.monotonic()
        # A worker that has just ended is noticed with the others.
        with suppress(OSError):
            self.pipe.send(task)

    def received(self) -> Iterator[Outcome | None]:
        with suppress(EOFError, OSError):
            while self.pipe.poll():
                yield self.pipe.recv()

    def end(self) -> None:
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()
        self.pipe.close()


class Supervisor:
    """Does all tasks of a queue in worker processes.

    Parameters
    ----------
    job : Job
        What each worker opens.
    slots : sequence of Slot
        One for each worker.
    queue : Queue
        The tasks.
    events : Events
        Whom to tell.
    patience : float
        Seconds without a sign of life after which a worker with a task is ended.
    retry : float
        Seconds until a task that another run is at is looked at again.
    """

    def __init__(
        self, job: Job, slots: Sequence[Slot], queue: Queue, events: Events, *, patience: float = PATIENCE, retry: float
    ) -> None:
        self._job = job
        self._queue = queue
        self._events = events
        self._patience = patience
        self._retry = retry
        self._failed_starts = 0
        self._slots = slots
        self._workers: list[_Worker] = []

    def run(self) -> None:
        """Work until no task is left.

        Raises
        ------
        InputError
            If workers end before their job is open.
        """
        try:
            for slot in self._slots[: len(self._queue)]:
                self._workers.append(_Worker(self._job, slot, self._patience))
                self._workers[-1].start()
            while self._queue or any(worker.task is not None for worker in self._workers):
                self._turn()
        finally:
            self._end_all()

    def _end_all(self) -> None:
        """End every worker: one that is left would wait for tasks, and this process at its end for the worker."""
        try:
            while self._workers:
                self._end(self._workers[-1])
                self._workers.pop()
        except KeyboardInterrupt:
            # Whoever is told to stop once more still has to.
            self._end_all()
            raise

    def _turn(self) -> None:
        for worker in self._workers:
            if worker.ready and worker.task is None:
                others = [one.task for one in self._workers if one.task is not None]
                task = self._queue.take(worker.last, others)
                if task is not None:
                    worker.give(task)
        wait([one for worker in self._workers for one in (worker.pipe, worker.process.sentinel)], timeout=_TURN)
        for worker in list(self._workers):
            for outcome in worker.received():
                self._receive(worker, outcome)
            how = self._ended_how(worker)
            if how is not None:
                self._replace(worker, how)

    def _receive(self, worker: _Worker, outcome: Outcome | None) -> None:
        task, worker.task = worker.task, None
        if outcome is None or task is None:
            worker.ready = True
            self._failed_starts = 0
        elif outcome.state == "busy":
            self._queue.put_back(task, self._retry)
        else:
            self._events.done(task, outcome)

    def _ended_how(self, worker: _Worker) -> str | None:
        code = worker.process.exitcode
        if code is not None:
            return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if worker.task is None and worker.ready:
            return None
        silence = time.monotonic() - worker.beat.value
        return f"made no progress for {silence:.0f} s" if silence > self._patience else None

    def _replace(self, worker: _Worker, how: str) -> None:
        # What it sent before it ended.
        for outcome in worker.received():
            self._receive(worker, outcome)
        self._end(worker)
        if worker.task is not None:
            if not self._events.lost(worker.task, worker.process.pid or 0, how):
                self._queue.put_back(worker.task, 0)
        elif not worker.ready:
            self._failed_starts += 1
            if self._failed_starts == _STARTS:
                raise InputError(
                    f"{_STARTS} workers in a row stopped at their start: the last {how}; try without --workers"
                )
        place = self._workers.index(worker)
        # Known before it runs, so that an interrupt at any moment finds it.
        self._workers[place] = _Worker(self._job, worker.slot, self._patience)
        self._workers[place].start()

    def _end(self, worker: _Worker) -> None:
        worker.end()
        self._events.ended(worker.process.pid or 0)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables of the environment for the block, since a child reads the number of threads when it starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
