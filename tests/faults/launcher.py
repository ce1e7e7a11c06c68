# SPDX-License-Identifier: Apache-2.0
"""A process with robust3d loaded that forks a child for every command, so that none pays for a start of Python.

Orders and answers are lines of JSON on stdin and stdout. It computes nothing itself: a child of a process whose threads
have computed could not compute.
"""

import gc
import importlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

_LOADED = (
    "matplotlib.backends.backend_agg", "nibabel", "rich.markdown", "safetensors.torch", "torch",
    "robust3d.attacks.cards", "robust3d.benchmarks.comparison", "robust3d.benchmarks.diagnostics.flags",
    "robust3d.benchmarks.diagnostics.report", "robust3d.benchmarks.estimate", "robust3d.benchmarks.leaderboard",
    "robust3d.benchmarks.scale.session", "robust3d.benchmarks.single", "robust3d.cli.attack", "robust3d.cli.data",
    "robust3d.cli.export", "robust3d.cli.progress", "robust3d.cli.report", "robust3d.cli.run", "robust3d.cli.train",
    "robust3d.data.writing", "robust3d.defenses.run", "robust3d.report.panel", "robust3d.report.tables",
    "robust3d.report.tracking.open", "robust3d.report.tracking.runs", "robust3d.report.tracking.training",
    "robust3d.zoo.export", "robust3d.zoo.load",
)  # fmt: skip


def _become(order: dict[str, Any]) -> None:
    """Turn a forked child into the command."""
    os.setsid()
    os.chdir(order["folder"])
    for number, name in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    # What is spawned loads robust3d anew, seconds of work that no fault is looked for in.
    context = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda *_: context  # type: ignore[assignment]
    os.fork = partial(_fork_deaf, os.fork)
    if order["fault"] is not None:
        name, options = order["fault"]
        module, _, function = name.partition(":")
        getattr(importlib.import_module(module), function)(**options)
    sys.argv = ["robust3d", *order["words"]]


def _fork_deaf(fork: Callable[[], int]) -> int:
    """Fork a child that never hears what workers ignore, since one that is spawned inherits no handler of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    pid = fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def serve() -> bool:
    """Answer orders until there are no more; returns whether this is a child that has become a command."""
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "start":
            pid = os.fork()
            if pid == 0:
                _become(order)
                return True
            answer = pid
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["pid"], 0)[1])
        sys.__stdout__.write(f"{json.dumps(answer)}\n")
        sys.__stdout__.flush()
    return False


class Launcher:
    """The launcher as its user sees it.

    Parameters
    ----------
    process : subprocess.Popen
        Of this module.
    logs : Path
        Folder for what the commands print.
    """

    def __init__(self, process: Any, logs: Path) -> None:
        self._process = process
        self._logs = logs
        self._count = 0

    def start(self, *words: object, folder: Path, fault: tuple[str, dict[str, Any]] | None = None) -> "Child":
        """Start a command in a folder, with a fault such as ``("module:function", options)``."""
        self._count += 1
        paths = {name: str(self._logs / f"{self._count}.{name}") for name in ("out", "err")}
        order = {"do": "start", "words": [*map(str, words)], "folder": str(folder), "fault": fault, **paths}
        return Child(self, self._ask(order), Path(paths["out"]), Path(paths["err"]))

    def wait(self, pid: int) -> int:
        """Return the exit code of a child once it has ended, negative for a signal."""
        return self._ask({"do": "wait", "pid": pid})

    def _ask(self, order: dict[str, Any]) -> int:
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))


class Child:
    """A command that runs; its number is that of its process group too."""

    def __init__(self, launcher: Launcher, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self._launcher = launcher
        self._files = (out, err)

    def running(self) -> bool:
        """Return whether the command has not ended yet."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was printed on stderr."""
        code = self._launcher.wait(self.pid)
        return code, self._files[1].read_text()

    @property
    def printed(self) -> str:
        """What was printed on stdout."""
        return self._files[0].read_text()


if __name__ == "__main__":
    for module in _LOADED:
        importlib.import_module(module)
    gc.freeze()
    if serve():
        from robust3d.cli.app import main

        main()
