# SPDX-License-Identifier: Apache-2.0
"""Joining the processes that ``accelerate launch`` or ``torchrun`` has started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from robust3d.defenses.processes import Processes
from robust3d.foundation.errors import InputError


def local_device(name: str) -> str:
    """Return the name of this process's own device, given the one that the user named for all.

    Raises
    ------
    InputError
        If several processes would share one GPU.
    """
    count = _count()
    if count == 1:
        return name
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    if kind not in ("cpu", "cuda"):
        raise InputError(f"device {name} is one, and {count} processes need one each; use auto, cuda or cpu")
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if kind == "cuda" else kind


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Give the processes of this run: those that a launcher has started, or this one alone.

    Raises
    ------
    InputError
        If there are several and accelerate is not installed.
    """
    if _count() == 1:
        yield Processes(device=device)
        return
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise InputError(
            f"training in {_count()} processes needs accelerate; install it by pip install 'robust3d[train]'"
        ) from error
    state = PartialState(cpu=device.type == "cpu")
    yield Processes(state.process_index, state.num_processes, device)
    # Not after a failure: the others may never come to it.
    state.destroy_process_group()


def _count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
