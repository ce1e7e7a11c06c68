# SPDX-License-Identifier: Apache-2.0
"""What the figures were measured on, and whether others can be compared with them."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from robust3d.defenses.reproduction import machine
from robust3d.segment.precision import fast_dtype


def describe_machine() -> dict[str, object]:
    """Return processor, instructions, threads and versions, JSON-ready."""
    found = machine(torch.device("cpu"))
    return {
        "processor": found["processor"],
        "architecture": platform.machine(),
        "capability": found["instructions"],
        "bf16_matrix_instructions": fast_dtype(torch.device("cpu")) == torch.bfloat16,
        "cores": os.cpu_count(),
        "threads": found["threads"],
        "torch": found["torch"],
        "python": platform.python_version(),
    }


def same_kind(one: dict[str, object], other: dict[str, object]) -> bool:
    """Return whether ratios that rest on bfloat16 are comparable between two machines."""
    return all(one[key] == other[key] for key in ("architecture", "capability", "bf16_matrix_instructions"))


def free_gigabytes() -> float:
    """Return the memory that a contender may take, GB; unlimited where the system does not say."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return float("inf")
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) / 1e6
