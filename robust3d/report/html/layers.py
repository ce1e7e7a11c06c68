# SPDX-License-Identifier: Apache-2.0
"""Layers of the 3D viewer: NIfTI volumes as text in a script, since a page opened from disk may read no other file."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.replay import ReplayedCase
from robust3d.foundation.errors import InputError
from robust3d.volume.labels import IGNORE

_MARGIN = 12
"""Voxels around truth and predictions where a volume must be cropped."""


@dataclass(frozen=True)
class Frame:
    """Part of a volume that the viewer holds.

    Parameters
    ----------
    box : tuple of slice
        Voxels, with a step along each axis.
    note : str
        For the page.
    """

    box: tuple[slice, slice, slice]
    note: str

    def affine(self, whole: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the affine of this part of a volume."""
        part = whole.copy()
        part[:3, :3] *= [one.step for one in self.box]
        part[:3, 3] = (whole @ [*(one.start for one in self.box), 1])[:3]
        return part


def viewer_layers(case: ReplayedCase, budget: int) -> tuple[dict[str, Any], str]:
    """Return the viewer's content, JSON-ready, and a note on what was left out of it.

    The clean image is stored in int16. A perturbation is stored in steps of 1/127 of its largest value; the
    browser adds it to the clean image. If all takes more than the budget, the volumes are cropped to the surroundings
    of the organ, then thinned out along the axes of smallest spacing.

    Parameters
    ----------
    case : ReplayedCase
        Volumes and predictions.
    budget : int
        Largest size of the texts together, bytes.

    Raises
    ------
    InputError
        If even the smallest part is too large.
    """
    size = 0
    for frame in _frames(case):
        content = _encode(case, frame)
        size = _size(content)
        if size <= budget:
            return content, frame.note
    raise InputError(
        f"the viewer of case {case.volume.name} takes {size / 1e6:.1f} MB and {budget / 1e6:.1f} MB are left for it; "
        "report fewer --cases"
    )


def _frames(case: ReplayedCase) -> Iterator[Frame]:
    shape = case.volume.shape
    yield Frame(_slices((0, 0, 0), shape, (1, 1, 1)), "The whole volume.")
    label = case.volume.known_label()
    foreground = (label > 0) & (label != IGNORE)
    for cell in case.cells.values():
        foreground |= cell.mask > 0
    corners = np.argwhere(foreground) if foreground.any() else np.array([(0, 0, 0), shape])
    start = np.maximum(corners.min(axis=0) - _MARGIN, 0)
    stop = np.minimum(corners.max(axis=0) + _MARGIN + 1, shape)
    spacing = np.array(case.volume.spacing)
    steps = np.ones(3, int)
    for _ in range(10):
        thinned = "" if (steps == 1).all() else f", every {' x '.join(map(str, steps))}th voxel"
        note = f"Cropped to truth and predictions with {_MARGIN} voxels around them{thinned}, to keep the folder small."
        yield Frame(_slices(start, stop, steps), note)
        steps[np.argmin(spacing * steps)] += 1


def _slices(start: Any, stop: Any, step: Any) -> tuple[slice, slice, slice]:
    first, second, third = (slice(int(a), int(b), int(c)) for a, b, c in zip(start, stop, step, strict=True))
    return first, second, third


def _encode(case: ReplayedCase, frame: Frame) -> dict[str, Any]:
    affine = frame.affine(case.volume.affine)
    label = case.volume.known_label()
    models = list(dict.fromkeys(model for model, _ in case.cells))
    attacks = list(dict.fromkeys(attack for _, attack in case.cells if attack != CLEAN))
    changes: dict[str, dict[str, Any]] = {}
    for model, attack in product(models, attacks):
        cell = case.cells.get((model, attack))
        if cell is not None:
            change = (cell.image - case.origin)[frame.box]
            largest = float(np.abs(change).max())
            steps = np.rint(change * (127 / (largest or 1))).astype(np.int8)
            changes.setdefault(model, {})[attack] = {
                "perturbation": _nifti(steps, affine, largest / 127),
                "largest": largest,
                "prediction": _nifti(cell.mask[frame.box], affine),
            }
    return {
        "clean": _image(case.origin[frame.box], affine),
        "window": [float(case.origin.min()), float(case.origin.max())],
        "truth": _nifti(np.where(label == IGNORE, 0, label)[frame.box], affine),
        "predictions": {
            model: _nifti(case.cells[model, CLEAN].mask[frame.box], affine)
            for model in models
            if (model, CLEAN) in case.cells
        },
        "attacks": changes,
    }


def _image(image: NDArray[np.float32], affine: NDArray[np.float64]) -> str:
    """Encode an image in int16: as it is where it holds whole numbers, else in 65,000 steps of its range."""
    low, high = float(image.min()), float(image.max())
    if low >= -32000 and high <= 32000 and not (image % 1).any():
        return _nifti(image.astype(np.int16), affine)
    slope = (high - low) / 65000 or 1.0
    middle = (low + high) / 2
    return _nifti(np.rint((image - middle) / slope).astype(np.int16), affine, slope, middle)


def _nifti(array: NDArray[Any], affine: NDArray[np.float64], slope: float = 1.0, inter: float = 0.0) -> str:
    file = nib.Nifti1Image(array, affine)
    file.header.set_slope_inter(slope or 1.0, inter)
    # No time stamp, so that equal volumes give equal texts.
    return base64.b64encode(gzip.compress(file.to_bytes(), mtime=0)).decode("ascii")


def _size(content: Any) -> int:
    if isinstance(content, dict):
        return sum(map(_size, content.values()))
    return len(content) if isinstance(content, str) else 0
