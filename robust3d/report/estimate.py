# SPDX-License-Identifier: Apache-2.0
"""What a run will take, as a console table and in one line."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from robust3d.benchmarks.estimate import Estimate


def estimate_table(estimate: Estimate, title: str) -> Table:
    """Return cells, windows and time of each model and attack, with their sum."""
    table = Table(title=Text(title), show_footer=True)
    table.add_column("model", footer="all", overflow="fold")
    table.add_column("attack", overflow="fold")
    windows = sum(row.windows for row in estimate.rows)
    for name, footer in (
        ("cells", estimate.cells),
        ("windows", f"{windows:.0f}"),
        ("time", duration(estimate.seconds)),
    ):
        table.add_column(name, justify="right", footer=str(footer))
    for row in estimate.rows:
        table.add_row(Text(row.model), Text(row.attack), str(row.cells), f"{row.windows:.0f}", duration(row.seconds))
    return table


def estimate_line(estimate: Estimate) -> str:
    """Return the sum in words."""
    return (
        f"{estimate.cells} cells to measure ({estimate.finished} from before), about {duration(estimate.seconds)} and "
        f"{estimate.memory / 1e9:.1f} GB on this device"
    )


def duration(seconds: float) -> str:
    """Return a time in words, to two digits or so.

    Examples
    --------
    >>> duration(4.2), duration(200), duration(9000), duration(300000)
    ('4 s', '3 min', '2.5 h', '3.5 days')
    """
    for unit, length, digits in (("days", 86400, 1), ("h", 3600, 1), ("min", 60, 0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds:.0f} s"
