# SPDX-License-Identifier: Apache-2.0
"""A sortable table of a page: what stands in each cell, by what it sorts, and what each column means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column.

    Parameters
    ----------
    heading : str
        What it is called.
    definition : str
        What it means, with the unit.
    numeric : bool
        Whether it holds numbers, which stand to the right.
    sorted : str
        ``ascending`` or ``descending`` where the rows come in the order of this column; ``none`` otherwise.
    """

    heading: str
    definition: str
    numeric: bool = True
    sorted: str = "none"


@dataclass(frozen=True)
class Entry:
    """A cell.

    Parameters
    ----------
    text : str
        What is read.
    value : str
        A number by which it sorts; empty to sort by the text.
    link : str
        Where it leads; empty for nowhere.
    bar : float or None
        Length of a bar under the number, percent of the cell's width.
    warns : bool
        Whether the reader must look at it.
    """

    text: str
    value: str = ""
    link: str = ""
    bar: float | None = None
    warns: bool = False


@dataclass(frozen=True)
class TableView:
    """A table of a page."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Entry]]


def percent(number: float | None) -> Entry:
    """Return the cell of a score in percent, with a bar; n/a for none."""
    return Entry("n/a") if number is None else Entry(f"{number:.2f}", str(number), bar=number)
