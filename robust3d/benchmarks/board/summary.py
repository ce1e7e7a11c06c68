# SPDX-License-Identifier: Apache-2.0
"""The row of an entry, from the counts of its cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

from robust3d.benchmarks.board.entry import AttackPart, CellPart, Entry, Summary
from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.leaderboard import leaderboard


def summarise_cells(cells: Iterable[CellPart], attacks: Sequence[AttackPart]) -> Summary:
    """Return the row as the leaderboard of a run has it; every case needs every attack."""
    bounded = {one.name: one.bounded for one in attacks} | {CLEAN: True}
    records = [
        {
            "model": "",
            "case": cell.case,
            "attack": cell.attack,
            "dsc": cell.counted,
            "bounded": bounded[cell.attack],
        }
        for cell in cells
    ]
    row = leaderboard(records, [""], [one.name for one in attacks]).iloc[0]
    figures = {key: _number(row[key]) for key in ("worst_dsc", "drop", "drop_ci_low", "drop_ci_high")}
    return Summary(
        cases=int(row["cases"]),
        clean_dsc=float(row["clean_dsc"]),
        clean_std=float(row["clean_std"]),
        attacks={one.name: float(row[f"{one.name}_dsc"]) for one in attacks},
        **figures,
    )


def best_known(entry: Entry) -> float | None:
    """Return the mean over cases of the lowest DSC that any attack within epsilon reaches, claims included.

    In percent; ``None`` where there is no such attack.
    """
    lowest = lowest_by_case(entry, claims=True)
    return round(100 * sum(lowest.values()) / len(lowest), 2) if lowest else None


def lowest_by_case(entry: Entry, *, claims: bool) -> dict[str, float]:
    """Return the lowest DSC of each case under an attack within epsilon, 0 to 1, with or without those of claims."""
    within = {one.name for one in entry.attacks if one.bounded}
    cells = [cell for cell in entry.cells if cell.attack in within]
    if claims:
        cells += [cell for claim in entry.external for cell in claim.cells]
    lowest: dict[str, float] = {}
    for cell in cells:
        lowest[cell.case] = min(cell.counted, lowest.get(cell.case, 1.0))
    return lowest


def _number(value: float) -> float | None:
    return float(value) if isfinite(value) else None
