# SPDX-License-Identifier: Apache-2.0
"""Findings of the diagnostics for people and programs: a console table and JSON-ready content."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from robust3d.benchmarks.diagnostics.exam import Exam
from robust3d.benchmarks.diagnostics.finding import Finding
from robust3d.benchmarks.diagnostics.report import SCHEMA
from robust3d.foundation.text import printable

_STYLES = {"ok": "green", "flag": "bold red", "skipped": "yellow"}


def findings_table(findings: Sequence[Finding], title: str) -> Table:
    """Return one row a check: what was measured, what it means and, for a flag, what to do."""
    table = Table(title=Text(printable(title)), show_lines=True)
    for heading in ("check", "verdict", "figures", "what it means", "remedy"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        figures = "\n".join(map(str, finding.figures))
        table.add_row(
            Text(finding.name),
            Text(finding.verdict, style=_STYLES[finding.verdict]),
            *map(Text, (figures, finding.meaning, finding.remedy)),
        )
    return table


def tally(findings: Sequence[Finding]) -> str:
    """Return how many findings there are of each verdict, such as ``"1 flag, 14 ok, 0 skipped"``."""
    numbers = Counter(finding.verdict for finding in findings)
    flags = numbers["flag"]
    return f"{flags} flag{'' if flags == 1 else 's'}, {numbers['ok']} ok, {numbers['skipped']} skipped"


def findings_json(model: str, cases: Sequence[tuple[Exam, Sequence[Finding]]]) -> dict[str, Any]:
    """Return everything that a reader needs to repeat the exams, and their findings.

    Parameters
    ----------
    model : str
        Name of the model.
    cases : sequence of (Exam, sequence of Finding)
        At least one, all of the same model, threat model, attack and seed.

    Returns
    -------
    dict
        JSON-ready; figures in their ``unit``, those that are not finite ``None``.
    """
    first = cases[0][0]
    return {
        "schema": SCHEMA,
        "model": model,
        "model_sha256": first.pipeline.weights_sha256,
        "pipeline": first.pipeline.settings(),
        "threat": first.threat.settings(),
        "attack": first.attack.settings(),
        "seed": first.seed,
        "cases": [
            {
                "case": exam.volume.name,
                "volume_sha256": exam.volume.sha256,
                "findings": [_finding_json(finding) for finding in findings],
            }
            for exam, findings in cases
        ],
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.name,
        "verdict": finding.verdict,
        "figures": [
            {"name": one.name, "value": one.value if math.isfinite(one.value) else None, "unit": one.unit}
            for one in finding.figures
        ],
        "meaning": finding.meaning,
        "remedy": finding.remedy,
    }
