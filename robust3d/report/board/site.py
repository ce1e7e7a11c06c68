# SPDX-License-Identifier: Apache-2.0
"""The public leaderboard as a static site: ``index.html`` without any other file, Markdown and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from robust3d.benchmarks.board.board import Board, BoardTable
from robust3d.foundation.files import make_folder, write_text
from robust3d.report.board.columns import cells, claims, columns, entries
from robust3d.report.escape import escape_markdown
from robust3d.report.web.pages import environment, inlined
from robust3d.report.web.table import TableView


def write_site(board: Board, folder: Path) -> list[Path]:
    """Write ``index.html``, ``leaderboard.md`` and ``leaderboard.json`` and return their paths."""
    make_folder(folder)
    content = json.dumps(board.model_dump(mode="json", by_alias=True), indent=1) + "\n"
    texts = {"index.html": page(board), "leaderboard.md": markdown(board), "leaderboard.json": content}
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def page(board: Board) -> str:
    """Return the page; every text of an entry is escaped."""
    template = environment("robust3d.report.board").get_template("board.html.j2")
    return template.render(assets=inlined(), tables=[_view(table) for table in board.tables])


def markdown(board: Board) -> str:
    """Return all tables with the definitions of their columns."""
    lines = ["# Leaderboard", ""]
    for table in board.tables:
        heads = columns(table)
        lines += [f"## {escape_markdown(table.benchmark)}", "", f"{escape_markdown(describe(table))}", ""]
        lines.append("| " + " | ".join(escape_markdown(one.heading) for one in heads) + " |")
        lines.append("|" + "".join("---:|" if one.numeric else "---|" for one in heads))
        lines += ["| " + " | ".join(map(escape_markdown, cells(row, table))) + " |" for row in table.rows]
        lines.append("")
        for row in table.rows:
            for sentence, claim in zip(claims(row), row.claims, strict=True):
                address = claim.evidence.url
                lines += [f"- {escape_markdown(sentence)} (<{address}>, SHA-256 {claim.evidence.sha256})"]
        lines += [f"- **{escape_markdown(one.heading)}**: {escape_markdown(one.definition)}." for one in heads]
        lines.append("")
    return "\n".join(lines)


def console_tables(board: Board) -> list[Table]:
    """Return a table a benchmark for a terminal."""
    shown = []
    for content in board.tables:
        table = Table(title=content.benchmark, caption=Text(describe(content)), caption_justify="left")
        for column in columns(content):
            table.add_column(Text(column.heading), justify="right" if column.numeric else "left", overflow="fold")
        for row in content.rows:
            table.add_row(*map(Text, cells(row, content)))
        shown.append(table)
    return shown


def describe(table: BoardTable) -> str:
    """Return threat model, number of cases and seed in a sentence."""
    return f"{table.threat.build()}; {len(table.cases)} cases, seed {table.seed}; DSC in percent."


def _view(table: BoardTable) -> dict[str, Any]:
    shown = TableView(columns(table), [entries(row, table) for row in table.rows])
    told = [one for row in table.rows for one in zip(claims(row), row.claims, strict=True)]
    return {"table": table, "about": describe(table), "shown": shown, "claims": told}
