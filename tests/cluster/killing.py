# SPDX-License-Identifier: Apache-2.0
"""Workers of Slurm jobs: which process holds which claim, to which job it belongs, and its end by SIGKILL."""

import json
import os
import random
import signal
import time
from pathlib import Path


def owners(out: Path) -> dict[str, int]:
    """Return the process that holds each claim of a run folder."""
    found = {}
    for path in out.glob("claims/*"):
        try:
            found[path.name.partition(".")[0]] = json.loads(path.read_text())["pid"]
        except (OSError, ValueError):
            continue
    return found


def job_of(pid: int) -> str:
    """Return the job of a process as squeue writes it, such as ``7_1``."""
    told = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    given = dict(line.partition("=")[::2] for line in told)
    return f"{given['SLURM_ARRAY_JOB_ID']}_{given['SLURM_ARRAY_TASK_ID']}"


def kill_a_holder(out: Path, chosen: random.Random, seconds: float) -> tuple[int, str]:
    """Kill a worker in the middle of a cell at a random moment; return its number and its job.

    A worker that finished its cell between the look and the signal did not die in a cell, so another one is killed.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.1 * chosen.random())
        held = sorted(owners(out).values())
        if not held:
            continue
        victim = chosen.choice(held)
        try:
            job = job_of(victim)
            os.kill(victim, signal.SIGKILL)
        except OSError:
            continue
        if victim in owners(out).values():
            return victim, job
    raise AssertionError("no worker held a claim")
