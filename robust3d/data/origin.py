# SPDX-License-Identifier: Apache-2.0
"""Where the cases of a benchmark come from, and how one can tell that a folder holds them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from robust3d.foundation.cards import Card
from robust3d.volume.volume import Volume

AIR = -500.0
"""HU; a CT of a body in air holds voxels below, many a file that is shifted or rescaled does not."""


class Origin(Card):
    """A dataset that people get elsewhere.

    Parameters
    ----------
    address : str
        Page that tells how to get it.
    licence : str
        Under which terms.
    access : str
        What it takes, such as a registration.
    labelled : int or None
        Labelled cases that were published.
    in_plane : (int, int) or None
        Voxels of a slice: the first two axes of the file, in either order.
    modality : str
        ``CT`` volumes must hold air, in HU.
    """

    address: str = Field(pattern=r"^https://[^\s/]+\S*$")
    licence: str
    access: str = "free"
    labelled: PositiveInt | None = None
    in_plane: tuple[PositiveInt, PositiveInt] | None = None
    modality: Literal["CT", "MR"]

    def tell(self) -> str:
        """Return where to get it and under which terms, one line."""
        return f"{self.address} ({self.access}; licence {self.licence})"

    def problems(self, volume: Volume) -> list[str]:
        """Return what tells that a case is not of this dataset, or not in its unit; none if nothing does."""
        found = []
        if self.in_plane is not None and sorted(volume.shape[:2]) != sorted(self.in_plane):
            first, second = volume.shape[:2]
            found.append(
                f"case {volume.name}: slices have {first} x {second} voxels and the dataset's "
                f"{self.in_plane[0]} x {self.in_plane[1]}; give the files as published, slices last, not resampled"
            )
        lowest = float(volume.image.min())
        if self.modality == "CT" and lowest > AIR:
            found.append(
                f"case {volume.name}: the lowest voxel is {lowest:g} and air in a CT is below {AIR:g} HU; the file is "
                "clipped, cropped, shifted or not in HU"
            )
        return found
