# SPDX-License-Identifier: Apache-2.0
"""Reports of the doctor, read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robust3d.benchmarks.card import ThreatCard
from robust3d.benchmarks.diagnostics.finding import Verdict
from robust3d.foundation.errors import InputError

SCHEMA = 1
"""Version of a report's content."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class ReportedFinding(_Section):
    """Answer of one check; its figures are kept out."""

    check: str
    verdict: Verdict
    meaning: str
    remedy: str


class ReportedCase(_Section):
    """Findings on one case."""

    case: str
    findings: tuple[ReportedFinding, ...] = Field(min_length=1)


class Report(_Section):
    """What is read of a report."""

    version: Literal[1] = Field(alias="schema")
    model: str
    model_sha256: str
    threat: ThreatCard
    attack: dict[str, Any]
    cases: tuple[ReportedCase, ...] = Field(min_length=1)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Checks that were skipped on every case."""
        verdicts: dict[str, set[str]] = {}
        for case in self.cases:
            for one in case.findings:
                verdicts.setdefault(one.check, set()).add(one.verdict)
        return tuple(check for check, found in verdicts.items() if found == {"skipped"})

    @property
    def checks(self) -> int:
        """Number of checks."""
        return len({one.check for case in self.cases for one in case.findings})


def read_report(path: Path) -> Report:
    """Read a file that ``robust3d doctor --json`` wrote.

    Raises
    ------
    InputError
        If it is not one.
    """
    hint = "write it with robust3d doctor --json, or move it elsewhere"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Report.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"{path} is no report of the doctor: {key}: {first['msg']}; {hint}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as a report of the doctor: {error}; {hint}") from error


def read_reports(folder: Path) -> list[Report]:
    """Return the doctor's reports of a folder: ``doctor*.json``, and all of its folder ``doctor``, by name."""
    return [read_report(path) for path in sorted({*folder.glob("doctor*.json"), *folder.glob("doctor/*.json")})]
