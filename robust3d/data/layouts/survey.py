# SPDX-License-Identifier: Apache-2.0
"""Check a folder before anything is computed with it: every problem, not the first one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from robust3d.data.layouts.layout import Entry, Layout, Listing
from robust3d.data.layouts.registry import find_layout
from robust3d.foundation.errors import InputError
from robust3d.foundation.paths import inside
from robust3d.foundation.text import refuse_control

SHOWN = 10
"""Problems that an error tells; ``robust3d data check`` lists all."""


def survey(root: Path, layout: str | None = None) -> tuple[Layout, Listing, list[str]]:
    """Return layout and cases of a folder, and what is wrong with it as far as names of files tell.

    Raises
    ------
    InputError
        If no layout fits.
    """
    found = find_layout(root, layout)
    listing = scan(found, root)
    return found, listing, list(listing.problems) or ([] if listing.entries else ["no labelled case"])


def open_folder(root: Path, layout: str | None = None) -> tuple[Layout, Listing]:
    """Return layout and cases of a folder in which nothing is wrong, as far as names of files tell.

    Raises
    ------
    InputError
        If no layout fits, or with all problems at once.
    """
    found, listing, problems = survey(root, layout)
    refuse(root, problems)
    return found, listing


def scan(layout: Layout, root: Path) -> Listing:
    """Return the cases and the problems of a folder: names that cannot be shown and files outside it among them."""
    listing = layout.scan(root)
    found = [problem for entry in listing.entries for problem in _outside(entry, root)]
    return replace(listing, problems=[*listing.problems, *found])


def _outside(entry: Entry, root: Path) -> Iterator[str]:
    try:
        refuse_control(entry.name)
    except ValueError as error:
        yield f"case {error}"
    for path in (*entry.images, entry.label):
        try:
            inside(root, path.relative_to(root) if path.is_relative_to(root) else path)
        except InputError as error:
            yield f"case {entry.name}: {error}"


def header_problems(layout: Layout, entries: Iterable[Entry]) -> list[str]:
    """Return what is wrong with cases as far as the headers of their files tell."""
    return [f"case {entry.name}: {problem}" for entry in entries for problem in layout.check(entry)]


def channel_problems(layout: Layout, entries: Iterable[Entry]) -> list[str]:
    """Return which case has another number of channels than the first one; their headers are in order."""
    first: tuple[Entry, int] | None = None
    problems = []
    for entry in entries:
        channels = layout.channels(entry)
        first = first or (entry, channels)
        if channels != first[1]:
            problems.append(f"case {entry.name} has {channels} channels and case {first[0].name} has {first[1]}")
    return problems


def voxel_problems(layout: Layout, listing: Listing, entry: Entry) -> list[str]:
    """Return what is wrong with the voxels of a case: damage, values that are not finite, unknown classes."""
    values = None if listing.labels is None else tuple(listing.labels.values())
    try:
        layout.read(entry, values)
    except InputError as error:
        return [f"case {entry.name}: {error}"]
    return []


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
