# SPDX-License-Identifier: Apache-2.0
"""What training and benchmark cards say alike about the cases of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from robust3d.data.classes import ClassCard
from robust3d.data.folder import FolderDataset
from robust3d.data.phantoms import PhantomDataset, PhantomPart
from robust3d.data.rescale import UNIT
from robust3d.foundation.cards import Card


class CaseSettings(Card):
    """Cases: generated, or of a folder that users name with ``--data``, in any known layout."""

    source: Literal["phantom", "folder"]
    shape: tuple[int, int, int] = (112, 96, 80)
    """Of phantoms, in voxels, like ``spacing``, in mm; the cases of a folder have their own."""
    spacing: tuple[float, float, float] = (3.0, 3.0, 4.0)
    cyst: bool | None = None
    """Phantoms of the pathological variant: a cyst in the pancreas, class 2."""
    split: str | None = None
    """Name of a list in ``benchmarks/splits/`` that says which cases train, validate and test."""
    classes: tuple[ClassCard, ...] | None = None
    """Label map; by default classes are the stored values."""
    rescale: Literal["percentiles"] | None = None
    """``percentiles``: voxels become percent of the case's 0.5 to 99.5 percentile range, for volumes without a
    physical unit (MR); the unit of a threat model is then ``% of range``."""

    def phantoms(self, part: PhantomPart, count: int) -> PhantomDataset:
        """Return the first ``count`` phantoms of a part as this card wants them."""
        return PhantomDataset(part, count, self.shape, self.spacing, self.cyst or False)

    def open_folder(self, root: str | Path) -> FolderDataset:
        """Return all cases of a folder as this card wants them."""
        return FolderDataset.open(root, classes=self.classes or (), rescale=self.rescale is not None)

    def check_source(self, only_folder: tuple[str, ...]) -> None:
        """Refuse settings that were written but would change nothing.

        Raises
        ------
        ValueError
            Names the setting.
        """
        for key in ("shape", "spacing", "cyst"):
            if self.source == "folder" and key in self.model_fields_set:
                raise ValueError(f"data.{key} has no effect with source 'folder', whose cases have their own")
        if self.cyst is False:
            raise ValueError("data.cyst = false has no effect, since phantoms have none by default; leave it out")
        for key in ("split", "classes", "rescale", *only_folder):
            if self.source == "phantom" and getattr(self, key) is not None:
                raise ValueError(f"data.{key} has no effect with source 'phantom'; leave it out")

    def check_unit(self, unit: str) -> None:
        """Refuse an epsilon whose unit is not that of the cases.

        Raises
        ------
        ValueError
            Names both.
        """
        if unit.endswith(UNIT) != (self.rescale is not None):
            mend = f"give epsilon in {UNIT!r}" if self.rescale else "set data.rescale = 'percentiles'"
            raise ValueError(f"epsilon is in {unit!r} and data.rescale is {self.rescale or 'not set'}; {mend}")
