# SPDX-License-Identifier: Apache-2.0
"""Which layouts there are, and which one a folder has."""

from __future__ import annotations

from pathlib import Path

from robust3d.data.layouts.datalist import MonaiDatalist
from robust3d.data.layouts.decathlon import Decathlon
from robust3d.data.layouts.layout import Layout
from robust3d.data.layouts.nih import NihPancreas
from robust3d.data.layouts.nnunet import NnunetRaw
from robust3d.data.layouts.pairs import PlainPairs
from robust3d.data.layouts.table import CsvTable
from robust3d.foundation.errors import InputError, nearest

LAYOUTS: tuple[Layout, ...] = (
    NnunetRaw(),
    Decathlon(),
    NihPancreas(),
    CsvTable(),
    MonaiDatalist(),
    PlainPairs(),
)
"""Tried in this order."""


def find_layout(root: Path, name: str | None = None) -> Layout:
    """Return a layout by name, or the first one that recognises the folder.

    Raises
    ------
    InputError
        If the folder does not exist, the name is unknown, or no layout recognises the folder.
    """
    if not root.is_dir():
        raise InputError(f"folder {root} does not exist")
    known = {layout.name: layout for layout in LAYOUTS}
    if name is not None:
        if name not in known:
            raise InputError(f"unknown layout {name!r}; {nearest(name, known)}")
        return known[name]
    for layout in LAYOUTS:
        if layout.recognises(root):
            return layout
    signatures = "; ".join(f"{layout.name}: {layout.signature}" for layout in LAYOUTS)
    raise InputError(f"{root} has none of the known layouts ({signatures})")
