# SPDX-License-Identifier: Apache-2.0
"""``robust3d status``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from robust3d.foundation.text import printable

if TYPE_CHECKING:
    from robust3d.benchmarks.scale.progress import PlanProgress, Progress

_COLUMNS = ("cells", "done", "running", "failed", "set aside", "waiting", "ETA")


def status(folder: Path) -> None:
    """Show how many cells of each run in a folder are done, running, failed or set aside, and when it will be done.

    Counted over all processes, machines and shards. Running: claimed by a process that still renews its claim.
    Set aside: failed by ending two workers. ETA, h:mm:ss: what is running or waiting, each cell at the mean time of
    the finished ones of its model and attack, shared by the cells that run now.

    Parameters
    ----------
    folder
        What was --out of robust3d run or submit.
    """
    from robust3d.benchmarks.scale.progress import read_progress

    console = Console(highlight=False)
    for progress in read_progress(folder):
        console.print(_table(progress))


def _table(progress: PlanProgress) -> Table:
    plan = progress.plan
    table = Table(title=Text(printable(plan.title)), caption=Text(printable(plan.threat)), caption_justify="left")
    table.add_column("shard")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for number, shard in enumerate(progress.shards, start=1):
        table.add_row(f"{number}/{plan.shards}", *_cells(shard))
    table.add_row("all", *_cells(progress.whole), style="bold" if progress.shards else "")
    return table


def _cells(progress: Progress) -> list[str]:
    left = progress.seconds_left
    counts = (progress.cells, progress.done, progress.running, progress.failed, progress.set_aside, progress.waiting)
    return [*map(str, counts), "n/a" if left is None else str(timedelta(seconds=round(left)))]
