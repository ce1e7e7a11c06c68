# SPDX-License-Identifier: Apache-2.0
"""``robust3d check``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from robust3d.foundation.errors import InputError


def check(
    *,
    baseline: Path,
    results: Path,
    tolerance: float = 1.0,
    confidence: float = 0.95,
    junit: Path | None = None,
    markdown: Path | None = None,
) -> None:
    """Compare results with a baseline; exit code 0: no regression, 1: regression, 2: they cannot be compared.

    Paired by case, for every model, attack and class and for the worst attack of each case. A row regresses if its
    mean DSC loss is larger than --tolerance and significantly above zero over all rows together. Under GitHub Actions,
    annotations and the job summary are written too.

    Parameters
    ----------
    baseline
        A results.jsonl that robust3d run wrote, or its folder.
    results
        The results.jsonl to judge, or its folder.
    tolerance
        Mean loss that is never a regression, points of DSC.
    confidence
        One minus the probability of any false alarm where nothing but noise changed.
    junit
        File for JUnit XML.
    markdown
        File for a Markdown summary.
    """
    from robust3d.benchmarks.gate.comparability import NotComparableError
    from robust3d.benchmarks.gate.compare import compare
    from robust3d.benchmarks.gate.verdict import judge
    from robust3d.report.gate import refusal_markdown, remarks, verdict_markdown, verdict_table
    from robust3d.report.github import refusal_annotations, verdict_annotations
    from robust3d.report.junit import refusal_junit, verdict_junit

    try:
        verdict = judge(compare(baseline, results), tolerance=tolerance, confidence=confidence)
    except InputError as error:
        problems = error.problems if isinstance(error, NotComparableError) else (str(error),)
        _publish(refusal_markdown(problems), refusal_junit(problems), refusal_annotations(problems), markdown, junit)
        raise
    console = Console(highlight=False)
    if not console.is_terminal:
        # A log has no width of its own, and 80 columns would break every name.
        console.width = 160
    console.print(verdict_table(verdict))
    for line in (*remarks(verdict), verdict.headline):
        console.print(line, markup=False, soft_wrap=True)
    _publish(verdict_markdown(verdict), verdict_junit(verdict), verdict_annotations(verdict), markdown, junit)
    if not verdict.passed:
        sys.exit(1)


def _publish(summary: str, xml: str, annotations: Sequence[str], markdown: Path | None, junit: Path | None) -> None:
    """Write the files that were asked for, and what GitHub Actions reads where it runs this."""
    from robust3d.foundation.files import write_text

    if junit is not None:
        write_text(junit, xml)
    if markdown is not None:
        write_text(markdown, summary)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for annotation in annotations:
            # As it is: a workflow command must not be wrapped or styled.
            sys.stdout.write(f"{annotation}\n")
    step_summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if step_summary:
        try:
            with Path(step_summary).open("a", encoding="utf-8") as file:
                file.write(summary)
        except OSError as error:
            raise InputError(f"cannot append to GITHUB_STEP_SUMMARY {step_summary}: {error.strerror}") from error
