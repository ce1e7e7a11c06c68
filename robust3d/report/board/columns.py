# SPDX-License-Identifier: Apache-2.0
"""Columns of the public leaderboard: what each is called, means and shows."""

from __future__ import annotations

from dataclasses import replace

from robust3d.benchmarks.board.board import BoardRow, BoardTable
from robust3d.report.web.table import Column, Entry, percent

_BEFORE = (
    Column("model", "name of the model", numeric=False),
    Column("defense", "training recipe of the model's card", numeric=False),
    Column(
        "best known",
        "like worst, over the stronger attacks of others too; rows are sorted by it, percent",
        sorted="descending",
    ),
    Column("worst", "mean over cases of the lowest DSC that any attack within epsilon reaches on the case, percent"),
    Column("clean", "mean ± standard deviation over cases of the DSC without an attack, percent"),
)
_AFTER = (
    Column("drop", "clean mean minus the lowest attacked mean, with its paired bootstrap 95% interval, points"),
    Column("doctor", "flags that robust3d doctor raised on these weights", numeric=False),
    Column("by", "who submitted the results, and when", numeric=False),
)


def columns(table: BoardTable) -> list[Column]:
    """Return the columns of a benchmark's table."""
    attacks = [Column(name, f"mean over cases of the DSC under {name}, percent") for name in table.attacks]
    return [*_BEFORE, *attacks, *_AFTER]


def entries(row: BoardRow, table: BoardTable) -> list[Entry]:
    """Return one cell a column."""
    return [
        Entry(row.model, link=row.link or ""),
        Entry(row.defense),
        percent(row.best_known_dsc),
        percent(row.worst_dsc),
        replace(percent(row.clean_dsc), text=f"{row.clean_dsc:.2f} ± {row.clean_std:.2f}"),
        *(percent(row.attacks.get(name)) for name in table.attacks),
        replace(percent(row.drop), text=_drop(row), bar=None),
        Entry(row.doctor, warns=" flag" in row.doctor and not row.doctor.startswith("no flag")),
        Entry(f"{row.submitted.by}, {row.submitted.date.isoformat()}"),
    ]


def cells(row: BoardRow, table: BoardTable) -> list[str]:
    """Return one text a column."""
    return [entry.text for entry in entries(row, table)]


def claims(row: BoardRow) -> list[str]:
    """Return a sentence a claim, without its link."""
    return [
        f"{row.model}: {claim.attack} of {claim.by}, {claim.date.isoformat()}, reaches a mean DSC of {claim.dsc:.2f}%"
        for claim in row.claims
    ]


def _drop(row: BoardRow) -> str:
    interval = row.drop_ci_low is not None and row.drop_ci_high is not None
    return percent(row.drop).text + (f" [{row.drop_ci_low:.2f}, {row.drop_ci_high:.2f}]" if interval else "")
