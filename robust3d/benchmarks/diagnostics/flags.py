# SPDX-License-Identifier: Apache-2.0
"""The doctor's flags that belong beside a model's figures, found by the hashes of its weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robust3d.benchmarks.diagnostics.report import Report, ReportedFinding


@dataclass(frozen=True)
class Flag:
    """A check that raised a flag on a model.

    Parameters
    ----------
    check, meaning, remedy : str
        As the doctor tells them.
    cases : tuple of str
        Those on which it did.
    """

    check: str
    meaning: str
    remedy: str
    cases: tuple[str, ...]


def raised_flags(reports: Iterable[Report], weights: Collection[str]) -> list[Flag] | None:
    """Return the flags of a model, or ``None`` if it was not examined.

    Parameters
    ----------
    reports : iterable of Report
        Of any models.
    weights : collection of str
        SHA-256 of the model's weights; one a fold where it is cross-validated.
    """
    own = [report for report in reports if report.model_sha256 in weights]
    if not own:
        return None
    raised: dict[str, list[tuple[str, ReportedFinding]]] = {}
    for case in (case for report in own for case in report.cases):
        for finding in case.findings:
            if finding.verdict == "flag":
                raised.setdefault(finding.check, []).append((case.case, finding))
    return [
        Flag(check, ones[0][1].meaning, ones[0][1].remedy, tuple(dict.fromkeys(case for case, _ in ones)))
        for check, ones in raised.items()
    ]


def flags_text(reports: Sequence[Report], weights: Collection[str]) -> str:
    """Return what tables show for a model: the flags, how many checks raised none, or that it was not examined."""
    flags = raised_flags(reports, weights)
    if flags is None:
        return "not examined"
    own = [report for report in reports if report.model_sha256 in weights]
    examined = len({report.model_sha256 for report in own})
    part = "" if examined == len(weights) else f" ({examined} of {len(weights)} folds examined)"
    if flags:
        return f"{len(flags)} flag{'' if len(flags) == 1 else 's'}: {', '.join(one.check for one in flags)}{part}"
    skipped = {check for report in own for check in report.skipped}
    checks = max(report.checks for report in own) - len(skipped)
    return f"no flag in {checks} check{'' if checks == 1 else 's'}{part}"


def flags_by_model(reports: Sequence[Report], records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the text of each model of a run by its name, empty where the doctor examined none of them.

    Parameters
    ----------
    reports : sequence of Report
        Of any models.
    records : iterable of mapping
        Cells with ``model`` and ``model_sha256``.
    """
    models: dict[str, set[str]] = {}
    for record in records:
        models.setdefault(record["model"], set()).add(record["model_sha256"])
    if not any(report.model_sha256 in weights for report in reports for weights in models.values()):
        return {}
    return {model: flags_text(reports, weights) for model, weights in models.items()}
