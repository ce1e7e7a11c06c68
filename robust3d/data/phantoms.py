# SPDX-License-Identifier: Apache-2.0
"""The phantom as a dataset: the seed of a case says whether it trains, validates or tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from robust3d.data.phantom import generate_phantom
from robust3d.foundation.errors import InputError, nearest
from robust3d.foundation.memory import check_fits
from robust3d.volume.volume import VOXEL_BYTES, Storage, Volume

PhantomPart = Literal["train", "validation", "test"]

SEED_STRIDE = 1_000_000
"""Case i of split number s is the phantom of seed ``s * SEED_STRIDE + i``; so splits never share a patient."""


@dataclass(frozen=True)
class PhantomDataset:
    """The first ``count`` phantoms of a split.

    Parameters
    ----------
    split : str
        ``"train"``, ``"validation"`` or ``"test"``.
    count : int
        Number of cases.
    shape : (int, int, int)
        Voxels along each axis.
    spacing : (float, float, float)
        Voxel size in mm.
    cyst : bool
        The pathological variant with label 2.
    """

    split: PhantomPart
    count: int
    shape: tuple[int, int, int] = (112, 96, 80)
    spacing: tuple[float, float, float] = (3.0, 3.0, 4.0)
    cyst: bool = False

    def __post_init__(self) -> None:
        if self.split not in get_args(PhantomPart):
            raise InputError(f"unknown split {self.split!r}; {nearest(self.split, get_args(PhantomPart))}")
        if not 0 < self.count <= SEED_STRIDE:
            raise InputError(f"the number of phantom cases must be from 1 to {SEED_STRIDE}, not {self.count}")
        check_fits(math.prod(self.shape) * VOXEL_BYTES, f"a phantom of {self.shape} voxels")

    @property
    def names(self) -> Sequence[str]:
        """Names such as ``test_0003``."""
        return [f"{self.split}_{index:04d}" for index in range(self.count)]

    @property
    def channels(self) -> int:
        """One: it is a CT."""
        return 1

    def origin(self, name: str) -> str:
        """Return where a case comes from, for messages."""
        return "generated"

    def load(self, name: str) -> Volume:
        """Generate one case (about a second at the default shape)."""
        if name not in self.names:
            raise InputError(f"unknown phantom case {name!r}; {nearest(name, self.names)}")
        index = int(name.rsplit("_", 1)[1])
        seed = get_args(PhantomPart).index(self.split) * SEED_STRIDE + index
        phantom = generate_phantom(seed, shape=self.shape, spacing=self.spacing, cyst=self.cyst)
        return Volume(
            image=phantom.image.astype(np.float32),
            label=phantom.label,
            affine=phantom.affine,
            spacing=phantom.spacing,
            name=name,
            storage=Storage(dtype="int16"),
        )
