# SPDX-License-Identifier: Apache-2.0
"""A collection of entries: a folder ``BENCHMARK/MODEL.json``, with reports of the doctor in ``doctor/``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from robust3d.benchmarks.board.cards import Cards
from robust3d.benchmarks.board.consistency import problems
from robust3d.benchmarks.board.entry import Entry
from robust3d.benchmarks.board.read import EntryError, read_entry
from robust3d.benchmarks.diagnostics.report import Report, read_reports
from robust3d.foundation.errors import InputError


@dataclass(frozen=True)
class Checked:
    """Entries that passed all checks.

    Parameters
    ----------
    entries : dict
        By file.
    reports : tuple of Report
        The doctor's.
    notes : tuple of str
        What could not be compared, a clause each.
    """

    entries: dict[Path, Entry]
    reports: tuple[Report, ...]
    notes: tuple[str, ...]


def find_entries(path: Path) -> list[Path]:
    """Return the entries that are meant by a file or a collection's folder.

    Raises
    ------
    InputError
        If there are none.
    """
    if path.is_file():
        return [path]
    found = sorted(one for one in path.glob("*/*.json") if one.parent.name != "doctor")
    if not found:
        raise InputError(f"{path} holds no BENCHMARK/MODEL.json; make entries with robust3d leaderboard add")
    return found


def check_entries(paths: Sequence[Path], cards: Cards) -> Checked:
    """Read and check entries and collections of them.

    Parameters
    ----------
    paths : sequence of Path
        Files, or folders of collections.
    cards : Cards
        What entries are compared with.

    Raises
    ------
    EntryError
        With everything that is wrong with any of them.
    """
    found: list[str] = []
    notes: list[str] = []
    entries: dict[Path, Entry] = {}
    reports: list[Report] = []
    for path in paths:
        for file in find_entries(path):
            try:
                entry = read_entry(file)
            except EntryError as error:
                found += error.problems
                continue
            entries[file] = entry
            found += [f"{file}: {problem}" for problem in [*problems(entry), *_place(entry, file)]]
            found += [f"{file}: {problem}" for problem in _carded(entry, cards)]
            notes += [f"{file}: {note}" for note in cards.notes(entry)]
        if path.is_dir():
            try:
                reports += read_reports(path)
            except InputError as error:
                found.append(str(error))
    found += _disagreements(entries)
    if found:
        raise EntryError(found)
    return Checked(entries, tuple(reports), tuple(notes))


def _carded(entry: Entry, cards: Cards) -> list[str]:
    try:
        return cards.problems(entry)
    except InputError as error:
        # A broken card, or cases that are not there.
        return [str(error)]


def _place(entry: Entry, file: Path) -> Iterator[str]:
    if file.parts[-2:] != tuple(entry.file.split("/")):
        yield f"its place in a collection is {entry.file}"


def _disagreements(entries: dict[Path, Entry]) -> Iterator[str]:
    """Yield what forbids one table: a model twice, or other cases, threat model or seed under one benchmark's name."""
    owners: dict[str, Path] = {}
    firsts: dict[str, tuple[Path, Entry]] = {}
    for file, entry in entries.items():
        owner = owners.setdefault(entry.file, file)
        if owner != file:
            yield f"{file}: {entry.model.name} in {entry.benchmark.name} is also in {owner}"
        path, first = firsts.setdefault(entry.benchmark.name, (file, entry))
        for what, own, other in (
            ("card of the benchmark", entry.benchmark.card_sha256, first.benchmark.card_sha256),
            ("threat model", entry.threat, first.threat),
            ("seed", entry.seed, first.seed),
            ("cases", entry.cases, first.cases),
        ):
            if own != other:
                yield f"{file}: other {what} than {path}"
