# SPDX-License-Identifier: Apache-2.0
"""Columns of the public leaderboard: what each is called, means and shows."""

from __future__ import annotations

from dataclasses import dataclass

from robust3d.benchmarks.board.board import BoardRow, BoardTable


@dataclass(frozen=True)
class Column:
    """A column.

    Parameters
    ----------
    heading : str
        What it is called.
    meaning : str
        Definition, with the unit.
    number : bool
        Whether it holds numbers.
    """

    heading: str
    meaning: str
    number: bool = True


_BEFORE = (
    Column("model", "name of the model", number=False),
    Column("defense", "training recipe of the model's card", number=False),
    Column("best known", "like worst, over the stronger attacks of others too; rows are sorted by it, percent"),
    Column("worst", "mean over cases of the lowest DSC that any attack within epsilon reaches on the case, percent"),
    Column("clean", "mean ± standard deviation over cases of the DSC without an attack, percent"),
)
_AFTER = (
    Column("drop", "clean mean minus the lowest attacked mean, with its paired bootstrap 95% interval, points"),
    Column("doctor", "flags that robust3d doctor raised on these weights", number=False),
    Column("by", "who submitted the results, and when", number=False),
)


def columns(table: BoardTable) -> list[Column]:
    """Return the columns of a benchmark's table."""
    attacks = [Column(name, f"mean over cases of the DSC under {name}, percent") for name in table.attacks]
    return [*_BEFORE, *attacks, *_AFTER]


def cells(row: BoardRow, table: BoardTable) -> list[str]:
    """Return one text a column."""
    return [
        row.model,
        row.defense,
        _number(row.best_known_dsc),
        _number(row.worst_dsc),
        f"{row.clean_dsc:.2f} ± {row.clean_std:.2f}",
        *(_number(row.attacks.get(name)) for name in table.attacks),
        _drop(row),
        row.doctor,
        f"{row.submitted.by}, {row.submitted.date.isoformat()}",
    ]


def claims(row: BoardRow) -> list[str]:
    """Return a sentence a claim, without its link."""
    return [
        f"{row.model}: {claim.attack} of {claim.by}, {claim.date.isoformat()}, reaches a mean DSC of {claim.dsc:.2f}%"
        for claim in row.claims
    ]


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _drop(row: BoardRow) -> str:
    if row.drop_ci_low is None or row.drop_ci_high is None:
        return _number(row.drop)
    return f"{_number(row.drop)} [{row.drop_ci_low:.2f}, {row.drop_ci_high:.2f}]"
