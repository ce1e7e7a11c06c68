# SPDX-License-Identifier: Apache-2.0
"""Models and volumes that are predicted by nnunetv2 and by robust3d."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.zoo.nnunet_folder import architecture, case, labels, plans, write_results

WINDOWS = [(12, 16, 14), (9, 8, 24)]


def _wave(shape: tuple[int, int, int]) -> np.ndarray:
    """A volume with steps, over which splines overshoot."""
    first, second, third = np.meshgrid(*(np.arange(length) for length in shape), indexing="ij")
    wave = np.sin(first * 0.9) + np.cos(second * 1.3 + third) + 2 * ((first + 2 * second) % 7 > 3)
    return wave.astype(np.float32)


RESAMPLINGS = {
    "finer": (_wave((11, 9, 10)), (2.0, 1.5, 1.7), (1.0, 1.1, 1.3), 3),
    "coarser": (_wave((14, 12, 9)), (0.8, 0.9, 1.2), (2.0, 1.5, 1.9), 3),
    "thick slices": (_wave((7, 9, 11)), (5.0, 1.0, 0.8), (2.5, 1.2, 1.2), 3),
    "thick slices of the model": (_wave((9, 12, 11)), (1.0, 1.2, 1.1), (1.0, 4.0, 1.2), 3),
    "thin slices": (_wave((9, 8, 10)), (0.2, 1.5, 1.5), (0.3, 1.0, 1.0), 3),
    "linear": (_wave((9, 8, 10)), (2.0, 1.5, 1.7), (1.0, 1.1, 1.3), 1),
    "linear, thick slices": (_wave((7, 9, 11)), (5.0, 1.0, 0.8), (2.5, 1.2, 1.2), 1),
}
"""Volume, its spacing, the spacing wanted, and the order of the spline."""


@dataclass(frozen=True)
class Case:
    """A model folder and a volume."""

    options: Callable[[], dict[str, Any]] = dict
    shape: tuple[int, int, int] = (20, 17, 14)
    affine: tuple[tuple[float, ...], ...] = field(
        default=((1.1, 0, 0, 0), (0, 1.2, 0, 0), (0, 0, 2.5, 0), (0, 0, 0, 1))
    )

    def write(self, root: Path) -> Path:
        return write_results(root, **self.options())


def _turned() -> dict[str, Any]:
    plan = plans(normalization_schemes=["ZScoreNormalization"], use_mask_for_norm=[True], patch_size=[16, 12, 14])
    return {"plan": plan | {"transpose_forward": [1, 2, 0], "transpose_backward": [2, 0, 1]}, "folds": ("0", "1")}


def _residual() -> dict[str, Any]:
    plan = plans(architecture=architecture("ResidualEncoderUNet"), normalization_schemes=["ZScoreNormalization"])
    return {"plan": plan | {"image_reader_writer": "NibabelIOWithReorient"}, "mirror_axes": None}


CASES = {
    "plain": Case(),
    "turned": Case(_turned),
    "regions": Case(
        lambda: {"dataset": labels(regions=True), "mirror_axes": (1, 2)},
        affine=((-1.1, 0, 0, 5), (0, 1.2, 0, 6), (0, 0, 5.0, 7), (0, 0, 0, 1)),
        shape=(20, 17, 6),
    ),
    "residual": Case(
        _residual, affine=((0, 1.5, 0, 0), (0, 0, -2.0, 3), (-1.4, 0, 0, 0), (0, 0, 0, 1)), shape=(10, 16, 15)
    ),
    "lowres": Case(lambda: {"configuration": "3d_lowres", "mirror_axes": (0,)}),
}


def file_of(one: Case, path: Path, *, seed: int = 0) -> Path:
    nib.Nifti1Image(case(one.shape, seed=seed).astype(np.int16), np.array(one.affine)).to_filename(path)
    return path
