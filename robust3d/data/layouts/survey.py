# SPDX-License-Identifier: Apache-2.0
"""Check a folder before anything is computed with it: every problem, not the first one."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from robust3d.data.layouts.layout import Entry, Layout, Listing
from robust3d.data.layouts.registry import find_layout
from robust3d.foundation.errors import InputError
from robust3d.volume.geometry import GeometryWarning, check_pair

SHOWN = 10
"""Problems that an error tells; ``robust3d data check`` lists all."""


def open_folder(root: Path, layout: str | None = None) -> tuple[Layout, Listing]:
    """Return layout and cases of a folder in which nothing is wrong, as far as names of files tell.

    Raises
    ------
    InputError
        If no layout fits, or with all problems at once.
    """
    found = find_layout(root, layout)
    listing = found.scan(root)
    refuse(root, listing.problems or ([] if listing.entries else ["no labelled case"]))
    return found, listing


def header_problems(layout: Layout, entries: Iterable[Entry]) -> list[str]:
    """Return what is wrong with the files of cases as far as their headers tell: absent, damaged, unequal grids."""
    problems = []
    for entry in entries:
        grids = []
        for path in (entry.image, entry.label):
            try:
                grids.append((path, *layout.grid(path)))
            except InputError as error:
                problems.append(f"case {entry.name}: {error}")
        if len(grids) == 2:
            with warnings.catch_warnings():
                # Told when the case is read.
                warnings.simplefilter("ignore", GeometryWarning)
                try:
                    check_pair(grids[0], grids[1])
                except InputError as error:
                    problems.append(f"case {entry.name}: {error}")
    return problems


def refuse(root: Path, problems: Sequence[str]) -> None:
    """Raise one error with all problems, if there are any."""
    if not problems:
        return
    if len(problems) == 1:
        raise InputError(f"folder {root} cannot be used: {problems[0]}")
    more = len(problems) - SHOWN
    rest = f"; and {more} more, which robust3d data check {root} lists" if more > 0 else ""
    told = "; ".join(f"({number}) {problem}" for number, problem in enumerate(problems[:SHOWN], start=1))
    raise InputError(f"folder {root} has {len(problems)} problems: {told}{rest}")
