# SPDX-License-Identifier: Apache-2.0
"""Writing entries, all or none, once each is valid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from robust3d.benchmarks.board.cards import Cards
from robust3d.benchmarks.board.consistency import problems
from robust3d.benchmarks.board.entry import Entry
from robust3d.benchmarks.board.read import EntryError
from robust3d.foundation.files import make_folder, write_text


def write_entries(entries: Sequence[Entry], collection: Path, cards: Cards) -> list[Path]:
    """Write entries to their places in a collection and return their paths.

    Raises
    ------
    EntryError
        If any is not valid, or two have the same place; then nothing is written.
    """
    times = Counter(entry.file for entry in entries)
    found = [
        f"{file}: made {count} times; add one run of a model and benchmark"
        for file, count in times.items()
        if count > 1
    ]
    found += [f"{entry.file}: {problem}" for entry in entries for problem in [*problems(entry), *cards.problems(entry)]]
    if found:
        raise EntryError(found)
    paths = [collection / entry.file for entry in entries]
    for entry, path in zip(entries, paths, strict=True):
        make_folder(path.parent)
        write_text(path, entry.text())
    return paths
