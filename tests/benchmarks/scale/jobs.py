# SPDX-License-Identifier: Apache-2.0
"""Jobs for supervised workers that need no network: a task is a number, and some are deadly."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from robust3d.benchmarks.scale.outcome import Outcome
from robust3d.benchmarks.scale.pulse import Pulse
from robust3d.benchmarks.scale.worker import Slot


@dataclass(frozen=True)
class Tasks:
    """Appends each task to ``log``; those of ``deadly``, ``hanging`` and ``raising`` end or stop their process."""

    log: Path
    deadly: tuple[int, ...] = ()
    hanging: tuple[int, ...] = ()
    raising: tuple[int, ...] = ()
    broken: bool = False

    def __call__(self, slot: Slot, pulse: Pulse):
        if self.broken:
            os._exit(3)

        def work(task: int) -> Outcome:
            with self.log.open("a") as log:
                log.write(f"{task} {slot.device} {os.environ['OMP_NUM_THREADS']}\n")
            if task in self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            if task in self.raising:
                os._exit(7)
            while task in self.hanging:
                time.sleep(0.1)
            return Outcome("measured", f"key {task}")

        return work
