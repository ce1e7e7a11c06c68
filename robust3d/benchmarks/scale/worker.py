# SPDX-License-Identifier: Apache-2.0
"""A worker process: opens the job once, then does the tasks that its supervisor sends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from robust3d.benchmarks.scale.outcome import Outcome
from robust3d.benchmarks.scale.pulse import Pulse


@dataclass(frozen=True)
class Slot:
    """What one worker may use.

    Parameters
    ----------
    device : str
        Name of a device, such as ``"cuda:1"``.
    threads : int
        Threads for computation.
    """

    device: str
    threads: int


Job = Callable[[Slot, Pulse], Callable[[int], Outcome]]
"""Opened once in every worker; can be pickled, and gives what does one task."""


def serve(job: Job, slot: Slot, pipe: Connection, beat: ctypes.c_double, patience: float) -> None:
    """Do tasks until the supervisor sends none or ends; first of all, say that the job is open.

    Parameters
    ----------
    job, slot
        What to do, and with what.
    pipe : Connection
        Task in, outcome out.
    beat : ctypes double
        Shared: moment of the last sign of life, seconds of the monotonic clock.
    patience : float
        See :class:`Pulse`.
    """
    # The terminal and Slurm send these to all processes of a run; the supervisor decides what they mean.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pulse = Pulse(patience, every=min(5.0, patience / 4))

    def live() -> None:
        beat.value = time.monotonic()

    pulse.listeners.append(live)
    with pulse.beating():
        work = job(slot, pulse)
        pipe.send(None)
        while (task := pipe.recv()) is not None:
            pulse.moved()
            pipe.send(work(task))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        # At once: files are written whole, and a claim of an ended process is stale.
        os._exit(1)
