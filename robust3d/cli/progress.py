# SPDX-License-Identifier: Apache-2.0
"""Progress on the console: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from robust3d.benchmarks.run import Benchmark, Plan
    from robust3d.benchmarks.store import Store

_PLAIN_EVERY = 10.0
"""Seconds between two plain lines."""

_LONG = 60.0
"""Seconds from which on a run is announced with its estimate."""


def progress_bar(unit: str, *, quiet: bool = False) -> Progress:
    """Return a bar with counts, elapsed time and ETA; no bar where there is no terminal, and nothing if ``quiet``."""
    console = Console(stderr=True, quiet=quiet)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )


def announce(benchmark: Benchmark, plan: Plan, store: Store) -> None:
    """Tell in one line what a long run will take, by a probe of its first model."""
    from robust3d.benchmarks.estimate import estimate
    from robust3d.foundation.errors import InputError
    from robust3d.report.estimate import estimate_line

    # Whatever cannot be estimated is for the run itself to tell.
    with suppress(InputError):
        expected = estimate(benchmark, plan, store, models=benchmark.models[:1])
        if expected.seconds > _LONG:
            Console(stderr=True, highlight=False, soft_wrap=True).print(
                f"{estimate_line(expected)}, estimated on {benchmark.models[0]} (--dry-run tells more)", markup=False
            )


@contextmanager
def cell_progress(total: int) -> Iterator[Callable[[str, bool], None]]:
    """Give a function to call after each cell, with its name and whether it was stored before."""
    done = stored = 0
    began = last = time.monotonic()
    with progress_bar("cells") as bar:
        task = bar.add_task("", total=total)

        def advance(name: str, was_stored: bool) -> None:
            nonlocal done, stored, last
            done, stored = done + 1, stored + was_stored
            bar.update(task, advance=1, description=name)
            now = time.monotonic()
            if not bar.console.is_terminal and (done == total or now - last > _PLAIN_EVERY):
                last = now
                fresh = done - stored
                eta = "" if fresh == 0 else f", ETA {(now - began) / fresh * (total - done):.0f} s"
                bar.console.print(
                    f"{done}/{total} cells ({stored} from before){eta}  {name}",
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )

        yield advance
