# SPDX-License-Identifier: Apache-2.0
"""A folder of labelled cases, in any known layout, as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robust3d.data.classes import ClassCard, label_table
from robust3d.data.layouts.layout import Entry, Layout
from robust3d.data.layouts.survey import channel_problems, header_problems, open_folder, refuse
from robust3d.data.rescale import rescale_to_percent
from robust3d.foundation.errors import InputError, nearest
from robust3d.volume.labels import IGNORE
from robust3d.volume.volume import Volume


@dataclass(frozen=True)
class FolderDataset:
    """Labelled cases of a folder; open one with :meth:`open`.

    Parameters
    ----------
    root : Path
        The folder.
    layout : Layout
        How cases lie in it.
    entries : dict of str to Entry
        Cases by name, in order.
    values : tuple of int, or None
        Values that stored labels may hold.
    table : ndarray of uint8, shape (256,)
        Class of each value.
    ignore : int, or None
        Value that the folder calls ``ignore``.
    rescale : bool
        Whether voxels become percent of each case's range; see :func:`rescale_to_percent`.
    """

    root: Path
    layout: Layout
    entries: dict[str, Entry]
    values: tuple[int, ...] | None
    table: NDArray[np.uint8]
    ignore: int | None = None
    rescale: bool = False

    @classmethod
    def open(
        cls, root: str | Path, *, layout: str | None = None, classes: Sequence[ClassCard] = (), rescale: bool = False
    ) -> FolderDataset:
        """Return all labelled cases of a folder by name.

        Parameters
        ----------
        root : path
            The folder.
        layout : str, optional
            Name of its layout; by default the one that recognises it.
        classes : sequence of ClassCard
            Label map; the stored values by default.
        rescale : bool
            Whether voxels become percent of each case's range.

        Raises
        ------
        InputError
            With every problem of the folder at once, as far as names and descriptions tell.
        """
        folder = Path(root)
        found, listing = open_folder(folder, layout)
        values = None if listing.labels is None else tuple(sorted(listing.labels.values()))
        table = label_table(classes, listing.labels, listing.ignore, where=str(folder))
        return cls(
            folder, found, {entry.name: entry for entry in listing.entries}, values, table, listing.ignore, rescale
        )

    @property
    def names(self) -> Sequence[str]:
        """Names of the cases in order."""
        return list(self.entries)

    @property
    def channels(self) -> int:
        """Number of channels of the first case; :meth:`only` has made sure that all have as many."""
        return self.layout.channels(next(iter(self.entries.values())))

    def part(self, first: int, count: int | None) -> FolderDataset:
        """Return ``count`` cases from number ``first`` on, or all from there.

        Raises
        ------
        InputError
            If there are fewer.
        """
        chosen = self.names[first:] if count is None else self.names[first : first + count]
        if not chosen or (count is not None and len(chosen) < count):
            wanted = f"case {first + 1} and later ones" if count is None else f"cases {first + 1} to {first + count}"
            raise InputError(f"{self.root} has {len(self.names)} labelled cases; {wanted} are asked for")
        return self.only(chosen)

    def only(self, names: Sequence[str]) -> FolderDataset:
        """Return these cases, after a look at the headers of their files.

        Raises
        ------
        InputError
            If a name is unknown, or with every problem of these cases at once.
        """
        missing = [name for name in names if name not in self.entries]
        if missing:
            more = f" and {len(missing) - 1} more of {len(names)}" if len(missing) > 1 else ""
            raise InputError(
                f"{self.root} has no case {missing[0]!r}{more}; {nearest(missing[0], self.entries)}; it holds "
                f"{len(self.names)} cases"
            )
        entries = {name: self.entries[name] for name in names}
        problems = header_problems(self.layout, entries.values())
        refuse(self.root, problems or channel_problems(self.layout, entries.values()))
        return replace(self, entries=entries)

    def origin(self, name: str) -> str:
        """Return the files of a case, for messages."""
        entry = self.entries[name]
        return ", ".join(map(str, (*entry.images, entry.label)))

    def load(self, name: str) -> Volume:
        """Read one case with its label.

        Raises
        ------
        InputError
            If it is unknown or cannot be read, or its label holds 255, the code of ignored voxels, by accident.
        """
        if name not in self.entries:
            raise InputError(f"unknown case {name!r} in {self.root}; {nearest(name, self.entries)}")
        stored = self.layout.read(self.entries[name], self.values)
        label = stored.known_label()
        if self.ignore != IGNORE and self.table[IGNORE] == IGNORE and (label == IGNORE).any():
            raise InputError(
                f"case {name}: label holds {IGNORE}, which {self.root} does not call 'ignore'; name it in "
                f"data.classes, labels = [{IGNORE}]"
            )
        volume = replace(stored, label=self.table[label])
        return rescale_to_percent(volume) if self.rescale else volume
