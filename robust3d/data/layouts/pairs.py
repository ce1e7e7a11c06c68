# SPDX-License-Identifier: Apache-2.0
"""Plain pairs: two folders of NIfTI files with equal names, ``images/CASE.nii.gz`` and ``labels/CASE.nii.gz``."""

from __future__ import annotations

from pathlib import Path

from robust3d.data.layouts.documents import unique
from robust3d.data.layouts.layout import Entry, Listing, NiftiLayout
from robust3d.volume.nifti import case_name
from robust3d.volume.nifti_file import SUFFIXES


class PlainPairs(NiftiLayout):
    """Two folders; a case is called as its image without suffix."""

    name = "pairs"
    signature = "images/CASE.nii.gz and labels/CASE.nii.gz"

    def recognises(self, root: Path) -> bool:
        """By the two folders."""
        return (root / "images").is_dir() and (root / "labels").is_dir()

    def scan(self, root: Path) -> Listing:
        """Return the pairs, and a problem for each file that has no other half."""
        entries, problems = unique(
            [Entry(case_name(path), path, root / "labels" / path.name) for path in _files(root / "images")]
        )
        known = {entry.label.name for entry in entries}
        problems += [f"case {one.name} has no label {one.label}" for one in entries if not one.label.is_file()]
        problems += [f"label {path} has no image" for path in _files(root / "labels") if path.name not in known]
        entries = [one for one in entries if one.label.is_file()]
        return Listing(entries, problems=problems or ([] if entries else [f"{root / 'images'} holds no NIfTI file"]))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.name.lower().endswith(SUFFIXES))
