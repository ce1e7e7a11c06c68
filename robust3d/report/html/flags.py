# SPDX-License-Identifier: Apache-2.0
"""Flags of the doctor, read back for the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robust3d.benchmarks.diagnostics.report import ReportedFinding, read_report
from robust3d.benchmarks.results import Results
from robust3d.foundation.errors import InputError


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


def read_flags(paths: Sequence[Path], results: Results) -> dict[str, list[Flag]]:
    """Return the flags of every examined model; a model without a file is not in it.

    Parameters
    ----------
    paths : sequence of Path
        Files that ``robust3d doctor --json`` wrote.
    results : Results
        Whose models they examined.

    Raises
    ------
    InputError
        If a file is no diagnosis, or examined a model or weights that the results do not hold.
    """
    hashes = {cell.model: cell.model_sha256 for cell in results.cells.values()}
    flags: dict[str, list[Flag]] = {}
    for path in paths:
        found = read_report(path)
        if hashes.get(found.model) != found.model_sha256:
            raise InputError(
                f"{path} examined {found.model} with weights {found.model_sha256} and {results.path} holds "
                f"{hashes.get(found.model, 'no such model')}; run robust3d doctor on the model of the results"
            )
        raised: dict[str, list[tuple[str, ReportedFinding]]] = {}
        for case in found.cases:
            for finding in case.findings:
                if finding.verdict == "flag":
                    raised.setdefault(finding.check, []).append((case.case, finding))
        flags[found.model] = [
            Flag(check, ones[0][1].meaning, ones[0][1].remedy, tuple(case for case, _ in ones))
            for check, ones in raised.items()
        ]
    return flags
