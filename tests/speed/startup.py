# SPDX-License-Identifier: Apache-2.0
"""How long ``robust3d --help`` and ``import robust3d`` take, against the interpreter and against torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from .contest import Figure, run_contest

PROGRAMS = {
    "python": ["-c", "pass"],
    "import robust3d": ["-c", "import robust3d"],
    "robust3d --help": ["-c", "from robust3d.cli.app import main; main()", "--help"],
    "import torch": ["-c", "import torch"],
}


def measure(*, rounds: int, clock: str) -> dict[str, object]:
    """Time fresh processes, by the wall clock whatever ``clock`` is: they are not this process."""
    figures = [
        Figure("import torch / robust3d --help", "import torch", "robust3d --help"),
        Figure("python / import robust3d", "python", "import robust3d"),
    ]
    runs = {name: _process(arguments) for name, arguments in PROGRAMS.items()}
    return run_contest(runs, figures, rounds=rounds, clock="wall") | {"clock": "wall"}


def _process(arguments: list[str]) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
