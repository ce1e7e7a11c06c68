# SPDX-License-Identifier: Apache-2.0
"""What every layout gives: the cases of a folder, and everything that is wrong with it, at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from robust3d.foundation.errors import InputError
from robust3d.volume.geometry import GeometryWarning, Grid, check_pair
from robust3d.volume.nifti import read_channels, read_grid, read_volume
from robust3d.volume.volume import Volume


@dataclass(frozen=True)
class Entry:
    """One case: where its image and its label are.

    Parameters
    ----------
    name : str
        Name of the case.
    image, label : Path
        A NIfTI file, or what the layout reads in place of one.
    others : tuple of Path
        Further files of the image, one a channel after the first.
    channels : int or None
        How many channels the folder says that the image has.
    """

    name: str
    image: Path
    label: Path
    others: tuple[Path, ...] = ()
    channels: int | None = None

    @property
    def images(self) -> tuple[Path, ...]:
        """All files of the image."""
        return (self.image, *self.others)


@dataclass(frozen=True)
class Listing:
    """What a layout found in a folder.

    Parameters
    ----------
    entries : sequence of Entry
        Cases in the order of their names.
    labels : mapping of str to int, optional
        Names of the values of a label, where the folder tells them.
    ignore : int, optional
        Value of voxels that annotators left open.
    problems : sequence of str
        A sentence for each thing that is wrong.
    """

    entries: Sequence[Entry] = ()
    labels: Mapping[str, int] | None = None
    ignore: int | None = None
    problems: Sequence[str] = field(default=())


class Layout(Protocol):
    """A way in which labelled cases lie in a folder."""

    name: str
    """By which users choose it."""
    signature: str
    """What a folder of this layout holds, in words."""

    def recognises(self, root: Path) -> bool:
        """Whether the folder looks like this layout; reads little."""

    def scan(self, root: Path) -> Listing:
        """Return the cases and the problems of a folder; opens no image."""

    def check(self, entry: Entry) -> list[str]:
        """Return what is wrong with a case as far as headers tell: absent, damaged, unequal grids."""

    def channels(self, entry: Entry) -> int:
        """Return the number of channels of a case, as far as headers tell."""

    def read(self, entry: Entry, values: Sequence[int] | None) -> Volume:
        """Read one case; ``values`` are those that its label may hold."""


class NiftiLayout:
    """Base of the layouts whose images and labels are NIfTI files."""

    def check(self, entry: Entry) -> list[str]:
        """Compare the headers of all files."""
        problems: list[str] = []
        grids: list[tuple[Path, *Grid]] = []
        found = len(entry.images)
        for path in (*entry.images, entry.label):
            try:
                if entry.others or path == entry.label:
                    grids.append((path, *read_grid(path)))
                else:
                    found, grid = read_channels(path)
                    grids.append((path, *grid))
            except InputError as error:
                problems.append(str(error))
        if problems:
            return problems
        with warnings.catch_warnings():
            # Told when the case is read.
            warnings.simplefilter("ignore", GeometryWarning)
            for other in grids[1:]:
                try:
                    check_pair(grids[0], other, second="label" if other is grids[-1] else "channel")
                except InputError as error:
                    problems.append(str(error))
        if entry.channels is not None and found != entry.channels:
            problems.append(f"image {entry.image} has {found} channels and the folder says {entry.channels}")
        return problems

    def channels(self, entry: Entry) -> int:
        """Return the number of files, or the length of the fourth axis of the only one."""
        return len(entry.images) if entry.others else read_channels(entry.image)[0]

    def read(self, entry: Entry, values: Sequence[int] | None) -> Volume:
        """Read the files of a case."""
        return read_volume(entry.images, entry.label, name=entry.name, classes=values)
