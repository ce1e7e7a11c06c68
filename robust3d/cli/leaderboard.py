# SPDX-License-Identifier: Apache-2.0
"""``robust3d leaderboard``: the public board, its entries and their checks."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

if TYPE_CHECKING:
    from robust3d.benchmarks.board.collection import Checked

Entries = Annotated[tuple[Path, ...], Parameter(name="--collection", negative=())]
Cards = Annotated[
    tuple[Path, ...],
    Parameter(name="--cards", negative=(), help="Folder with your own benchmarks/, attacks/ or zoo/; repeatable."),
]
Day = Annotated[datetime.date | None, Parameter(help="YYYY-MM-DD; today by default.")]


def board(*, collection: Entries, out: Path = Path("leaderboard"), cards: Cards = ()) -> None:
    """Check the entries of collections and merge them into one board: index.html, leaderboard.md, leaderboard.json.

    Parameters
    ----------
    collection
        Folder with BENCHMARK/MODEL.json and doctor/*.json; repeatable.
    out
        Folder for the site.
    """
    from robust3d.benchmarks.board.board import merge
    from robust3d.report.board.site import console_tables, write_site

    console = _console()
    merged = merge(_checked(collection, cards, console))
    for path in write_site(merged, out):
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
    for table in console_tables(merged):
        console.print(table)


def validate(*paths: Path, cards: Cards = (), volumes: bool = False, data: Path | None = None) -> None:
    """Check entries, or collections of them; exit code 2 and everything that is wrong, if anything is.

    Parameters
    ----------
    paths
        Files, or folders of collections.
    volumes
        Generate or read the test cases too and compare their hashes, about a second a case.
    data
        Folder with the cases in any layout that robust3d data check knows, for benchmarks that do not generate them.
    """
    from robust3d.foundation.errors import InputError

    if not paths:
        raise InputError("nothing to validate; give an entry, or the folder of a collection")
    console = _console()
    checked = _checked(paths, cards, console, volumes=volumes, data=data)
    count = len(checked.entries)
    console.print(f"{count} entr{'y' if count == 1 else 'ies'} valid", markup=False)


def add(*runs: Path, collection: Path, by: str, date: Day = None, link: str | None = None, cards: Cards = ()) -> None:
    """Make an entry of every model of finished runs, or make it anew; nothing is written unless all are valid.

    Claims of others stay as long as model, cases and threat model are the same.

    Parameters
    ----------
    runs
        Folders of runs, or their results.jsonl.
    collection
        Folder for the entries: BENCHMARK/MODEL.json.
    by
        Who submits: a name or a group.
    link
        https address of the model's weights or paper.
    """
    from robust3d.benchmarks.board.cards import Cards as Compared
    from robust3d.benchmarks.board.make import make_entries, merged
    from robust3d.benchmarks.board.read import read_entry
    from robust3d.benchmarks.board.write import write_entries
    from robust3d.foundation.collections import Collections
    from robust3d.foundation.errors import InputError

    if not runs:
        raise InputError("nothing to add; give the folder of a finished run")
    collections = Collections.open(cards)
    made = []
    for run in runs:
        for entry in make_entries(run, by=by, day=_day(date), link=link, collections=collections):
            earlier = collection / entry.file
            made.append(merged(entry, read_entry(earlier)) if earlier.is_file() else entry)
    _wrote(write_entries(made, collection, Compared(collections)))


def claim(
    run: Path,
    *,
    entry: Path,
    by: str,
    evidence: str,
    evidence_sha256: str,
    date: Day = None,
    cards: Cards = (),
) -> None:
    """Add the attacks of a run to an entry as stronger ones, which lower what is best known of its model.

    Parameters
    ----------
    run
        Folder of a run of the same benchmark and model with attacks that the entry lacks.
    entry
        File of the entry.
    by
        Who claims: a name or a group.
    evidence
        https address of code, paper or adversarial volumes.
    evidence_sha256
        SHA-256 of the file at that address.
    """
    from robust3d.benchmarks.board.cards import Cards as Compared
    from robust3d.benchmarks.board.entry import Evidence
    from robust3d.benchmarks.board.make import make_claims
    from robust3d.benchmarks.board.read import checked_part, read_entry
    from robust3d.benchmarks.board.write import write_entries
    from robust3d.foundation.collections import Collections

    earlier = read_entry(entry)
    proof = checked_part({"url": evidence, "sha256": evidence_sha256}, Evidence, where="--evidence")
    claims = make_claims(run, earlier, by=by, day=_day(date), evidence=proof)
    lowered = earlier.model_copy(update={"external": (*earlier.external, *claims)})
    _wrote(write_entries([lowered], entry.parent.parent, Compared(Collections.open(cards))))


def schema(of: Literal["entry", "board"] = "entry") -> None:
    """Print the JSON schema of an entry, or of the board in leaderboard.json.

    Parameters
    ----------
    of
        entry: docs/leaderboard-entry.schema.json. board: docs/leaderboard.schema.json.
    """
    import sys

    from robust3d.benchmarks.board.board import Board
    from robust3d.benchmarks.board.entry import Entry
    from robust3d.benchmarks.board.read import schema_text

    sys.stdout.write(schema_text(Entry if of == "entry" else Board))


def _checked(
    paths: tuple[Path, ...],
    cards: tuple[Path, ...],
    console: Console,
    *,
    volumes: bool = False,
    data: Path | None = None,
) -> Checked:
    from robust3d.benchmarks.board.cards import Cards as Compared
    from robust3d.benchmarks.board.collection import check_entries
    from robust3d.foundation.collections import Collections

    checked = check_entries(paths, Compared(Collections.open(cards), volumes=volumes, data=data))
    for note in checked.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    return checked


def _wrote(paths: list[Path]) -> None:
    for path in paths:
        _console().print(f"wrote {path}", markup=False, soft_wrap=True)


def _day(given: datetime.date | None) -> datetime.date:
    return given or datetime.datetime.now(datetime.UTC).date()


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        # A log has no width of its own, and 80 columns would break every name.
        console.width = 200
    return console
