# SPDX-License-Identifier: Apache-2.0
"""Goals of targeted attacks: the label map that the attacker wants to be predicted, and how near a mask comes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import ndimage

from robust3d.foundation.cards import Card
from robust3d.foundation.digest import digest_file, digest_json
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import dsc, foreground_dsc
from robust3d.volume.labels import IGNORE
from robust3d.volume.nifti import read_label
from robust3d.volume.volume import Volume


class GoalBase(Card, ABC):
    """A label map to reach, made from the case."""

    def check(self, classes: int) -> None:
        """Refuse a class that the model does not have.

        Raises
        ------
        InputError
            With the classes that there are.
        """
        wanted = getattr(self, "class_index", None)
        if wanted is not None and wanted >= classes:
            raise InputError(
                f"the goal is about class {wanted} and the model has 0 to {classes - 1}; choose one of them"
            )

    def identity(self) -> dict[str, str]:
        """Return what tells the goal from others, beside its settings."""
        return {}

    @abstractmethod
    def label(self, volume: Volume) -> NDArray[np.uint8]:
        """Return the map, shape of the volume."""

    def score(self, mask: NDArray[Any], volume: Volume, classes: int) -> float:
        """Return how far a prediction is from the goal, from 0 (reached) to 1: 1 - DSC with the map."""
        return 1.0 - foreground_dsc(mask, self.label(volume), classes)

    def figures(self, mask: NDArray[Any], volume: Volume, classes: int) -> dict[str, float]:
        """Return ``target_dsc``: mean foreground DSC of a prediction with the map, from 0 to 1."""
        return {"target_dsc": foreground_dsc(mask, self.label(volume), classes)}


class Erase(GoalBase):
    """The organ becomes background.

    Parameters
    ----------
    class_index : int or None
        Class to erase; all of the foreground by default.
    """

    kind: Literal["erase"]
    class_index: PositiveInt | None = None

    def label(self, volume: Volume) -> NDArray[np.uint8]:
        """Return the label without the organ."""
        label = volume.known_label()
        erased = label > 0 if self.class_index is None else label == self.class_index
        return np.where(erased & (label != IGNORE), np.uint8(0), label)

    def score(self, mask: NDArray[Any], volume: Volume, classes: int) -> float:
        """Return the DSC with the truth that is left; the DSC with an empty map could only be 0 or 1."""
        if self.class_index is not None:
            return dsc(mask, volume.known_label(), self.class_index)
        return foreground_dsc(mask, volume.known_label(), classes)

    def figures(self, mask: NDArray[Any], volume: Volume, classes: int) -> dict[str, float]:
        """Return ``left_dsc`` as well: DSC with the truth that is left of what was to be erased, from 0 to 1."""
        return {**super().figures(mask, volume, classes), "left_dsc": self.score(mask, volume, classes)}


class Hallucinate(GoalBase):
    """The organ appears in a ball, and only there.

    Parameters
    ----------
    centre : (float, float, float)
        Centre of the ball as a fraction of the volume along each axis.
    radius : float
        In mm.
    class_index : int
        Class to appear.
    """

    kind: Literal["hallucinate"]
    centre: tuple[float, float, float]
    radius: PositiveFloat
    class_index: PositiveInt = 1

    def label(self, volume: Volume) -> NDArray[np.uint8]:
        """Return the ball without the voxels where the organ truly is.

        Raises
        ------
        InputError
            If no voxel is left.
        """
        axes = [
            ((np.arange(length) - place * (length - 1)) * step) ** 2
            for length, place, step in zip(volume.shape, self.centre, volume.spacing, strict=True)
        ]
        square = axes[0][:, None, None] + axes[1][:, None] + axes[2]
        truth = volume.known_label()
        ball = (square <= self.radius**2) & (truth != self.class_index) & (truth != IGNORE)
        if not ball.any():
            raise InputError(
                f"case {volume.name}: the ball of {self.radius:g} mm at {self.centre} holds no voxel outside class "
                f"{self.class_index}; move it or make it larger"
            )
        return _ignoring(np.where(ball, np.uint8(self.class_index), np.uint8(0)), truth)


class Shift(GoalBase):
    """The label moves.

    Parameters
    ----------
    offset : (float, float, float)
        Along each axis of the volume, in mm; rounded to whole voxels.
    """

    kind: Literal["shift"]
    offset: tuple[float, float, float]

    def label(self, volume: Volume) -> NDArray[np.uint8]:
        """Return the moved label; what leaves the volume is lost."""
        voxels = [round(move / step) for move, step in zip(self.offset, volume.spacing, strict=True)]
        truth = volume.known_label()
        organ = np.where(truth == IGNORE, np.uint8(0), truth)
        return _ignoring(np.asarray(ndimage.shift(organ, voxels, order=0, mode="constant", cval=0), np.uint8), truth)


class LabelMap(GoalBase):
    """Any label map, from a file.

    Parameters
    ----------
    path : Path
        NIfTI label on the grid of the volume, or a folder that holds one a case, ``<case>.nii.gz``.
    """

    kind: Literal["map"]
    path: Annotated[Path, Field(strict=False)]

    def check(self, classes: int) -> None:
        """Refuse a path that holds no map.

        Raises
        ------
        InputError
            With what was looked for.
        """
        if not self._files():
            raise InputError(f"goal map {self.path} is neither a file nor a folder of <case>.nii.gz; correct goal.path")

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("*.nii.gz")) if self.path.is_dir() else [self.path][: self.path.is_file()]

    def identity(self) -> dict[str, str]:
        """Return the hash of the files, so that results of another map are not taken for those of this one."""
        return {"goal_sha256": digest_json([_digest(file, file.stat().st_mtime_ns) for file in self._files()])}

    def label(self, volume: Volume) -> NDArray[np.uint8]:
        """Return the map.

        Raises
        ------
        InputError
            If there is none for the case, it is no label, or its shape or spacing is not the volume's.
        """
        path = self.path / f"{volume.name}.nii.gz" if self.path.is_dir() else self.path
        return _ignoring(read_label(path, volume), volume.known_label())


@lru_cache(maxsize=1024)
def _digest(file: Path, changed: int) -> str:
    """Return the hash of a file, read once until it changes: every cell asks for it."""
    return digest_file(file)


def _ignoring(label: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a map in which what the annotators left open stays open."""
    return np.where(truth == IGNORE, np.uint8(IGNORE), label)


Goal = Annotated[Erase | Hallucinate | Shift | LabelMap, Field(discriminator="kind")]
