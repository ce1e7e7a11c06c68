# SPDX-License-Identifier: Apache-2.0
"""MONAI datalist: a JSON file whose list ``training`` names image and label of each case."""

from __future__ import annotations

from pathlib import Path

from robust3d.data.layouts.documents import pair_list, read_object, unique
from robust3d.data.layouts.layout import Listing, NiftiLayout
from robust3d.foundation.errors import InputError


class MonaiDatalist(NiftiLayout):
    """Folders with one datalist as MONAI's ``load_decathlon_datalist`` reads it; an image may be a list of files."""

    name = "datalist"
    signature = "one .json file with a list training of image and label"

    def recognises(self, root: Path) -> bool:
        """By the list of some JSON file in the folder."""
        return bool(_datalists(root))

    def scan(self, root: Path) -> Listing:
        """Return the cases of the list ``training``; paths are relative to the folder."""
        found = _datalists(root)
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            return Listing(problems=[f"{root} needs one .json file with a list training, found {names}"])
        entries, wrong = pair_list(read_object(found[0])["training"], root, f"training in {found[0]}")
        entries, twice = unique(entries)
        return Listing(entries, problems=[*wrong, *twice])


def _datalists(root: Path) -> list[Path]:
    found = []
    for path in sorted(root.glob("[!.]*.json")):
        try:
            if "training" in read_object(path):
                found.append(path)
        except InputError:
            # Another file of the user's, or one that another layout tells about.
            continue
    return found
