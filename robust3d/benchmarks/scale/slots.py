# SPDX-License-Identifier: Apache-2.0
"""Devices and threads for workers that share a machine."""

from __future__ import annotations

import os

import torch

from robust3d.benchmarks.scale.worker import Slot
from robust3d.foundation.errors import InputError


def share_machine(workers: int, device: str) -> list[Slot]:
    """Return a slot for each worker: GPUs in turn where the device is not a certain one, and an equal share of cores.

    Parameters
    ----------
    workers : int
        At least 1.
    device : str
        ``"auto"`` and ``"cuda"`` mean all GPUs that this process sees.

    Raises
    ------
    InputError
        If there is less than one worker.
    """
    if workers < 1:
        raise InputError(f"the number of workers must be 1 or more, not {workers}")
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    # Never more than the user allows to a single process.
    threads = max(1, min(_cores() // workers, torch.get_num_threads()))
    return [Slot(f"cuda:{number % gpus}" if gpus else device, threads) for number in range(workers)]


def _cores() -> int:
    """Return the cores that this process may use: on a cluster less than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
