# SPDX-License-Identifier: Apache-2.0
"""A leaderboard as CSV, Markdown, JSON lines and a console table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from robust3d.benchmarks.leaderboard import DEFINITIONS, is_cross_validated
from robust3d.foundation.files import write_text
from robust3d.report.escape import escape_markdown
from robust3d.threat.model import ThreatModel


def write_tables(
    board: pd.DataFrame,
    comparison: pd.DataFrame,
    records: Sequence[dict[str, Any]],
    threat: ThreatModel,
    title: str,
    folder: Path,
    *,
    doctor: Mapping[str, str] | None = None,
) -> None:
    """Write ``leaderboard.csv``, ``leaderboard.md``, ``comparison.csv`` and ``results.jsonl`` atomically.

    ``doctor`` tells the flags of each model, see :func:`markdown`, which shows the extremes of cross-validated models;
    the CSV keeps its columns.
    """
    write_text(folder / "leaderboard.csv", board.to_csv(index=False, float_format="%.2f"))
    write_text(folder / "comparison.csv", comparison.to_csv(index=False, float_format="%.2f"))
    extremes = is_cross_validated(records)
    write_text(folder / "leaderboard.md", markdown(board, threat, title, doctor=doctor, extremes=extremes))
    lines = (json.dumps(record, sort_keys=True) for record in records)
    write_text(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))


def markdown(
    board: pd.DataFrame,
    threat: ThreatModel,
    title: str,
    *,
    doctor: Mapping[str, str] | None = None,
    extremes: bool = False,
) -> str:
    """Return the leaderboard as a Markdown page with the definitions of its columns.

    Parameters
    ----------
    board : DataFrame
        The leaderboard.
    threat : ThreatModel
        Of its attacks.
    title : str
        Heading of the page.
    doctor : mapping, optional
        What the doctor found on each model; no column where it is empty.
    extremes : bool
        Whether to show the lowest and highest clean DSC.
    """
    board = _with_doctor(board, doctor)
    headings = [heading(column) for column in shown_columns(board, extremes=extremes)]
    lines = [f"# {escape_markdown(title)}", "", f"Threat model: {threat}. DSC in percent.", ""]
    lines += ["| " + " | ".join(map(escape_markdown, headings)) + " |", "|" + "---|" + "---:|" * (len(headings) - 1)]
    lines += ["| " + " | ".join(cells) + " |" for cells in _cells(board.assign(**_escaped(board)), extremes)]
    lines += ["", *(f"- **{heading(name)}**: {text}." for name, text in _definitions(board, extremes).items())]
    return "\n".join(lines) + "\n"


def console_table(
    board: pd.DataFrame,
    threat: ThreatModel,
    title: str,
    *,
    doctor: Mapping[str, str] | None = None,
    extremes: bool = False,
) -> Table:
    """Return the leaderboard as a table for a terminal; see :func:`markdown`."""
    board = _with_doctor(board, doctor)
    table = Table(title=Text(title), caption=Text(f"DSC in percent; {threat}"), caption_justify="left")
    for number, column in enumerate(shown_columns(board, extremes=extremes)):
        table.add_column(Text(heading(column)), justify="right" if number else "left")
    for cells in _cells(board, extremes):
        table.add_row(*map(Text, cells))
    return table


def texts(board: pd.DataFrame, *, extremes: bool = False) -> pd.DataFrame:
    """Return what tables show of a leaderboard: one text a cell, under its heading."""
    headings = [heading(column) for column in shown_columns(board, extremes=extremes)]
    return pd.DataFrame(_cells(board, extremes), columns=headings)


def _escaped(board: pd.DataFrame) -> dict[str, pd.Series[str]]:
    """Return the columns of names, for Markdown; the others hold figures."""
    return {name: board[name].map(str).map(escape_markdown) for name in ("model", "doctor") if name in board}


def _with_doctor(board: pd.DataFrame, doctor: Mapping[str, str] | None) -> pd.DataFrame:
    if not doctor:
        return board
    # A model without any cell has no weights to compare.
    return board.assign(doctor=[doctor.get(name, "n/a") for name in board["model"]])


def _definitions(board: pd.DataFrame, extremes: bool) -> dict[str, str]:
    known = DEFINITIONS | {"doctor": "flags that robust3d doctor raised on these weights (docs/doctor.md)"}
    return {name: text for name, text in known.items() if name in shown_columns(board, extremes=extremes)}


def shown_columns(board: pd.DataFrame, *, extremes: bool = False) -> list[str]:
    """Return the columns that tables show; the others are folded into them or left out."""
    folded = {"clean_std", "drop_ci_low", "drop_ci_high"}
    if not extremes:
        folded |= {"clean_min", "clean_max"}
    return [str(column) for column in board.columns if column not in folded]


def heading(column: str) -> str:
    """Return what stands over a column."""
    return column.removesuffix("_dsc").replace("_", " ")


def _cells(board: pd.DataFrame, extremes: bool = False) -> list[list[str]]:
    rows = []
    for row in board.to_dict(orient="records"):
        cells = []
        for column in shown_columns(board, extremes=extremes):
            if pd.isna(row[column]):
                cells.append("n/a")
            elif column == "clean_dsc":
                cells.append(f"{row['clean_dsc']:.2f} ± {row['clean_std']:.2f}")
            elif column == "drop":
                cells.append(f"{row['drop']:.2f} [{row['drop_ci_low']:.2f}, {row['drop_ci_high']:.2f}]")
            else:
                value = row[column]
                cells.append(f"{value:.2f}" if isinstance(value, float) else str(value))
        rows.append(cells)
    return rows
