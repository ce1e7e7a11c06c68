# SPDX-License-Identifier: Apache-2.0
"""A verdict of the gate as GitHub workflow commands, which GitHub shows as annotations of a run."""

from __future__ import annotations

from collections.abc import Sequence

from robust3d.benchmarks.gate.verdict import Verdict


def verdict_annotations(verdict: Verdict) -> list[str]:
    """Return an error a regression, the largest loss first (GitHub shows ten a step), and the warning if any."""
    commands = [
        _command(
            "error",
            f"robustness regression: {row.name}",
            f"DSC {row.baseline:.2f} -> {row.results:.2f} %: lost {row.loss:.2f} points over {verdict.cases} cases, "
            f"at least {row.low:.2f}; largest {row.largest:.2f} in {row.case}",
        )
        for row in verdict.regressions
    ]
    if verdict.warning:
        commands.append(_command("warning", "robust3d check sees little", verdict.warning))
    return commands


def refusal_annotations(problems: Sequence[str]) -> list[str]:
    """Return an error for every reason why nothing was compared."""
    return [_command("error", "robust3d check cannot compare", problem) for problem in problems]


def _command(kind: str, title: str, message: str) -> str:
    """Return one workflow command, escaped as GitHub's toolkit does."""
    return f"::{kind} title={_escape(title).replace(':', '%3A').replace(',', '%2C')}::{_escape(message)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
