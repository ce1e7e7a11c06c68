# SPDX-License-Identifier: Apache-2.0
"""A verdict of the gate for people: a console table and a Markdown summary."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from rich.table import Table
from rich.text import Text

from robust3d.benchmarks.gate.verdict import DEFINITIONS, RowVerdict, Verdict
from robust3d.report.escape import escape_markdown

_HEADINGS = (*DEFINITIONS, "verdict")
_WORDS = {"model", "attack", "class", "verdict"}


def verdict_table(verdict: Verdict) -> Table:
    """Return the rows as a table for a terminal, regressions in bold red; the largest loss of a case is left out."""
    caption = f"DSC in percent, differences in points; {how(verdict)}"
    table = Table(title="check", caption=caption, caption_justify="left")
    shown = [heading for heading in _HEADINGS if heading != "largest"]
    for heading in shown:
        table.add_column(heading, justify="left" if heading in _WORDS else "right", overflow="fold")
    for row in verdict.rows:
        texts = dict(zip(_HEADINGS, cells(row), strict=True))
        table.add_row(*(Text(texts[heading]) for heading in shown), style="bold red" if row.regression else None)
    return table


def verdict_markdown(verdict: Verdict) -> str:
    """Return a Markdown page: verdict, table, power, notes, and the definition of every column."""
    lines = ["# robust3d check", "", f"**{escape_markdown(verdict.headline)}**", ""]
    lines += [f"DSC in percent, differences in points; {how(verdict)}.", ""]
    rule = "|".join("---" if heading in _WORDS else "---:" for heading in _HEADINGS)
    lines += ["| " + " | ".join(_HEADINGS) + " |", f"|{rule}|"]
    lines += ["| " + " | ".join(map(escape_markdown, cells(row))) + " |" for row in verdict.rows]
    lines += ["", *(f"- {escape_markdown(remark)}" for remark in remarks(verdict))]
    lines += ["", *(f"- **{name}**: {meaning}." for name, meaning in DEFINITIONS.items())]
    return "\n".join(lines) + "\n"


def refusal_markdown(problems: Sequence[str]) -> str:
    """Return a Markdown page that tells why nothing was compared."""
    lines = [
        "# robust3d check",
        "",
        "**cannot compare**",
        "",
        *(f"- {escape_markdown(problem)}" for problem in problems),
    ]
    return "\n".join(lines) + "\n"


def how(verdict: Verdict) -> str:
    """Return how the rows were judged, in one clause."""
    return (
        f"a regression is a loss above {verdict.tolerance:g} points that is significant at "
        f"{100 * verdict.confidence:g}% over all {len(verdict.rows)} rows together "
        f"({verdict.method}, {verdict.cases} paired cases)"
    )


def remarks(verdict: Verdict) -> list[str]:
    """Return power, warning and notes, a sentence each."""
    warning = [f"warning: {verdict.warning}"] if verdict.warning else []
    return [f"power: {verdict.power}", *warning, *(f"note: {note}" for note in verdict.notes)]


def cells(row: RowVerdict) -> list[str]:
    """Return one text a column, in the order of ``DEFINITIONS``, and the verdict."""
    return [
        row.model,
        row.attack,
        row.label,
        _number(row.baseline),
        _number(row.results),
        _number(row.loss),
        _number(row.low),
        f"{row.p:.4f}",
        f"{_number(row.largest)} ({row.case})",
        _number(row.detectable),
        "regression" if row.regression else "pass",
    ]


def _number(value: float) -> str:
    # Adding zero turns -0.0 into 0.0.
    return "n/a" if isnan(value) else f"{round(value, 2) + 0.0:.2f}"
