# SPDX-License-Identifier: Apache-2.0
"""Exports by name: results in, files out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from robust3d.benchmarks.card import ThreatCard
from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.leaderboard import is_cross_validated, leaderboard
from robust3d.benchmarks.results import Results
from robust3d.foundation.cards import check_card
from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder, write_text
from robust3d.report.latex import leaderboard_latex
from robust3d.report.nnunet import nnunet_summary
from robust3d.report.parquet import write_parquet


def export_latex(results: Results, folder: Path) -> list[Path]:
    """Write ``leaderboard.tex``: models with all attacks of the results."""
    threat = check_card(results.first.threat, ThreatCard, where=f"threat model of {results.path}").build()
    records = [cell.model_dump() for cell in results.cells.values()]
    attacks = [attack for attack in dict.fromkeys(attack for _, attack in results.rows) if attack != CLEAN]
    board = leaderboard(records, results.models, attacks)
    path = folder / "leaderboard.tex"
    extremes = is_cross_validated(records)
    write_text(path, leaderboard_latex(board, threat, results.first.benchmark, extremes=extremes))
    return [path]


def export_summary(results: Results, folder: Path) -> list[Path]:
    """Write ``summary/MODEL__ATTACK/summary.json`` for every model and attack.

    Raises
    ------
    InputError
        If two names are the same but for signs that a folder's name cannot hold.
    """
    owners: dict[str, tuple[str, str]] = {}
    for row in results.rows:
        # A model's name may hold a slash, and a name from a file must never lead out of the folder.
        name = re.sub(r"[^\w.@+-]", "-", f"{row[0]}__{row[1]}")
        other = owners.setdefault(name, row)
        if other != row:
            raise InputError(f"{other[1]} on {other[0]} and {row[1]} on {row[0]} would share the folder {name}")
    written = []
    for name, (model, attack) in owners.items():
        cells = [results.cells[model, attack, case] for case in results.rows[model, attack]]
        path = make_folder(folder / "summary" / name) / "summary.json"
        write_text(path, json.dumps(nnunet_summary(cells), indent=2) + "\n")
        written.append(path)
    return written


def export_parquet(results: Results, folder: Path) -> list[Path]:
    """Write ``results.parquet``: one row a cell with everything that its line holds."""
    path = folder / "results.parquet"
    write_parquet([*results.records().values()], path)
    return [path]


EXPORTS: Mapping[str, Callable[[Results, Path], list[Path]]] = {
    "latex": export_latex,
    "summary": export_summary,
    "parquet": export_parquet,
}
"""Each writes its files into a folder and returns their paths."""
