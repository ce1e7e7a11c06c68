# SPDX-License-Identifier: Apache-2.0
"""Board: checked entries of many models, merged into one table a benchmark."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from robust3d.benchmarks.board.collection import Checked
from robust3d.benchmarks.board.entry import Claim, Entry, Evidence, Link, Name, Part, Percent, Sha256, Submitted, Text
from robust3d.benchmarks.board.summary import best_known
from robust3d.benchmarks.card import ThreatCard
from robust3d.benchmarks.diagnostics.flags import flags_text
from robust3d.benchmarks.diagnostics.report import Report


class ClaimRow(Part):
    """A stronger attack by somebody else."""

    attack: Name
    dsc: Percent
    """Mean over cases, percent."""
    by: Text
    date: datetime.date
    evidence: Evidence


class BoardRow(Part):
    """A model; DSC in percent."""

    model: Name
    description: Text
    defense: Text
    data: Text
    licence: Text
    link: Link | None
    weights_sha256: Sha256
    cases: int
    clean_dsc: Percent
    """Mean over cases without an attack."""
    clean_std: float
    """Standard deviation over cases, points."""
    attacks: dict[str, Percent]
    """Mean over cases under each attack."""
    worst_dsc: Percent | None
    """Mean over cases of the lowest DSC under any attack within epsilon of the submitted run."""
    drop: float | None
    """Clean mean minus the lowest mean under an attack within epsilon of the submitted run, points."""
    drop_ci_low: float | None
    drop_ci_high: float | None
    best_known_dsc: Percent | None
    """Like worst_dsc, over the claims of others too: what is known of the model; rows are sorted by it."""
    claims: tuple[ClaimRow, ...]
    doctor: str
    """Flags that the doctor raised on these weights, or that it did not examine them."""
    submitted: Submitted
    robust3d: str
    """Version that measured."""
    file: str
    """The entry in its collection."""


class BoardTable(Part):
    """All models in one benchmark."""

    benchmark: Name
    threat: ThreatCard
    seed: int
    cases: tuple[Name, ...]
    attacks: tuple[Name, ...]
    """Those of any row; a row may lack some."""
    rows: tuple[BoardRow, ...]


class Board(Part):
    """The content of ``leaderboard.json``."""

    version: Literal[1] = Field(alias="schema")
    tables: tuple[BoardTable, ...]


def merge(checked: Checked) -> Board:
    """Return the board of checked entries: benchmarks by name, models by their best known DSC, highest first."""
    tables: dict[str, list[Entry]] = {}
    for entry in checked.entries.values():
        tables.setdefault(entry.benchmark.name, []).append(entry)
    content = [_table(tables[name], checked.reports) for name in sorted(tables)]
    return Board(schema=1, tables=tuple(content))


def _table(entries: Sequence[Entry], reports: Sequence[Report]) -> BoardTable:
    first = entries[0]
    rows = [_row(entry, reports) for entry in entries]
    rows.sort(key=lambda row: -1.0 if row.best_known_dsc is None else row.best_known_dsc, reverse=True)
    attacks = dict.fromkeys(attack.name for entry in entries for attack in entry.attacks)
    return BoardTable(
        benchmark=first.benchmark.name,
        threat=first.threat,
        seed=first.seed,
        cases=tuple(one.case for one in first.cases),
        attacks=tuple(attacks),
        rows=tuple(rows),
    )


def _row(entry: Entry, reports: Sequence[Report]) -> BoardRow:
    model = entry.model
    return BoardRow(
        model=model.name,
        description=model.description,
        defense=model.defense,
        data=model.data,
        licence=model.licence,
        link=model.link,
        weights_sha256=model.weights_sha256,
        **entry.summary.model_dump(),
        best_known_dsc=best_known(entry),
        claims=tuple(_claim_row(claim) for claim in entry.external),
        doctor=flags_text(reports, {model.weights_sha256}),
        submitted=entry.submitted,
        robust3d=str(entry.environment.get("robust3d", "unknown")),
        file=entry.file,
    )


def _claim_row(claim: Claim) -> ClaimRow:
    mean = sum(cell.counted for cell in claim.cells) / len(claim.cells)
    return ClaimRow(
        attack=claim.attack, dsc=round(100 * mean, 2), by=claim.by, date=claim.date, evidence=claim.evidence
    )
