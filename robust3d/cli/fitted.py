# SPDX-License-Identifier: Apache-2.0
"""A table with as many columns as a terminal has room for, and with all of them in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

LEAST = 20
"""Characters in which a text may be wrapped at its blanks; a column with less room for it is left out."""
_EDGES = 3
"""Characters of a column's padding and border."""


def print_fitted(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, and which columns had no room.

    Parameters
    ----------
    title : str
        What stands over it.
    headings : sequence of str
        Columns, the most important first; the first is shown always.
    rows : sequence of sequences of str
        One text a column.
    """
    console = Console(highlight=False)
    columns = list(zip(headings, *rows, strict=True))
    natural = [max(map(cell_len, column)) for column in columns]
    if not console.is_terminal:
        console.width = max(console.width, _total(natural))
    widths = column_widths(columns, natural, console.width)
    table = Table(title=Text(title))
    for index, width in widths.items():
        table.add_column(Text(headings[index]), width=width, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[index]) for index in widths))
    console.print(table)
    absent = [heading for index, heading in enumerate(headings) if index not in widths]
    if absent:
        console.print(f"No room for {', '.join(absent)}; widen the terminal, or pipe to a file or pager.", markup=False)


def column_widths(columns: Sequence[Sequence[str]], natural: Sequence[int], available: int) -> dict[int, int]:
    """Return the width of each column that is shown, by its place.

    A column is shown if what it needs fits beside the more important ones; room that is left goes to the columns in
    the same order, up to their ``natural`` width.
    """
    widths = {0: min(natural[0], available - _total([0]))}
    for index, column in enumerate(columns[1:], start=1):
        needed = max(min(natural[index], LEAST), *(cell_len(word) for text in column for word in text.split()))
        if _total([*widths.values(), needed]) <= available:
            widths[index] = needed
    spare = available - _total(list(widths.values()))
    for index, width in widths.items():
        given = min(natural[index] - width, spare)
        widths[index] += given
        spare -= given
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(width + _EDGES for width in widths) + 1
