# SPDX-License-Identifier: Apache-2.0
"""The leaderboard and the table of cases of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.diagnostics.flags import Flag
from robust3d.benchmarks.leaderboard import DEFINITIONS, is_cross_validated, leaderboard
from robust3d.benchmarks.results import Results
from robust3d.report.tables import heading, shown_columns, texts
from robust3d.report.web.table import Column, Entry, TableView, percent


def board_view(results: Results, titles: Mapping[str, str], flags: Mapping[str, Sequence[Flag]]) -> TableView:
    """Return the leaderboard, with a column of flags where any model was examined."""
    attacks = [attack for attack in dict.fromkeys(attack for _, attack in results.rows) if attack != CLEAN]
    records = [cell.model_dump() for cell in results.cells.values()]
    unbounded = {cell.attack for cell in results.cells.values() if not cell.bounded}
    board = leaderboard(records, results.models, attacks)
    meanings = dict(DEFINITIONS)
    for attack in attacks:
        beyond = "; goes beyond epsilon and never counts as the worst" if attack in unbounded else ""
        meanings[f"{attack}_dsc"] = f"mean DSC under {attack} ({titles[attack]}), percent{beyond}"
    meanings["model"] += "; a link leads to the commands that measure its rows anew"
    meanings["clean_dsc"] += "; after the sign, its standard deviation over cases"
    meanings["drop"] += "; in brackets its paired bootstrap 95% interval"
    extremes = is_cross_validated(records)
    shown = shown_columns(board, extremes=extremes)
    columns = [Column(heading(one), meanings[one], numeric=one != "model") for one in shown]
    written = texts(board, extremes=extremes).itertuples(index=False)
    rows = [
        [_entry(one, row[one], text) for one, text in zip(shown, line, strict=True)]
        for row, line in zip(board.to_dict(orient="records"), written, strict=True)
    ]
    for row in rows:
        row[0] = Entry(row[0].text, link="provenance.html#commands")
    if flags:
        columns.append(Column("flags", "checks of robust3d doctor that raised a flag; each is explained below"))
        for row in rows:
            row.append(_flags_entry(row[0].text, flags))
    return TableView(columns, rows)


def cases_view(results: Results, links: Mapping[str, str]) -> TableView:
    """Return one row a case: organ size, and for every model the clean DSC, the worst within epsilon and the drop."""
    columns = [
        Column("case", "name of the case; a link leads to its own page", numeric=False),
        Column("voxels", "true foreground, voxels"),
    ]
    for model in results.models:
        columns += [
            Column(f"{model}, clean", f"DSC of {model} on the clean volume, percent"),
            Column(f"{model}, worst", f"lowest DSC of {model} under an attack within epsilon, percent"),
            Column(f"{model}, drop", f"clean minus worst DSC of {model}, points"),
        ]
    rows = []
    for case in dict.fromkeys(case for _, _, case in results.cells):
        own = [cell for cell in results.cells.values() if cell.case == case]
        voxels = max(sum(one.tp + one.fn for one in cell.classes.values()) for cell in own)
        row = [Entry(case, link=links.get(case, "")), Entry(str(voxels), str(voxels))]
        for model in results.models:
            clean, worst = case_scores(results, model, case)
            drop = None if clean is None or worst is None else clean - worst
            row += [percent(clean), percent(worst), replace(percent(drop), bar=None)]
        rows.append(row)
    return TableView(columns, rows)


def case_scores(results: Results, model: str, case: str) -> tuple[float | None, float | None]:
    """Return the clean DSC and the lowest under an attack within epsilon, percent; ``None`` where not measured."""
    own = [cell for cell in results.cells_of(model) if cell.case == case]
    clean = next((100 * cell.dsc for cell in own if cell.attack == CLEAN), None)
    attacked = [100 * cell.dsc for cell in own if cell.attack != CLEAN and cell.bounded]
    return clean, min(attacked, default=None)


def most_affected(results: Results, number: int) -> list[str]:
    """Return the cases with the largest drop of any model, the largest first."""
    drops: dict[str, float] = {}
    for model, _, case in results.cells:
        clean, worst = case_scores(results, model, case)
        drop = 0.0 if clean is None or worst is None else clean - worst
        drops[case] = max(drop, drops.get(case, 0.0))
    return sorted(drops, key=lambda case: -drops[case])[:number]


def _entry(column: str, value: object, text: str) -> Entry:
    known = isinstance(value, int | float) and not pd.isna(value)
    return Entry(
        text, str(value) if known else "", bar=float(str(value)) if known and column.endswith("_dsc") else None
    )


def _flags_entry(model: str, flags: Mapping[str, Sequence[Flag]]) -> Entry:
    if model not in flags:
        return Entry("not examined")
    raised = flags[model]
    names = ", ".join(flag.check for flag in raised)
    text = f"{len(raised)}: {names}" if raised else "0"
    return Entry(text, str(len(raised)), "#flags" if raised else "", warns=bool(raised))
