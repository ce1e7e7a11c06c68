# SPDX-License-Identifier: Apache-2.0
"""NIH Pancreas-CT as its archive gives it: a DICOM series a patient and labels as NIfTI in the order of the slices.

The series lie in folders below ``PANCREAS_0001``... (or are converted to ``PANCREAS_0001.nii.gz``), which the NBIA Data
Retriever puts into ``manifest-1599750808610/Pancreas-CT``; the labels are ``label0001.nii.gz``... below any folder. The
header of a label does not tell its place: its voxels are in the order of the DICOM slices (columns, rows, slices
upward), as the released code of OrganSegC2F pairs them. An image that dcm2niix converted has its rows the other way
round, so that the label must be flipped along its second axis; here each label is turned into the axes that the image's
own affine tells.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from robust3d.data.layouts.documents import unique
from robust3d.data.layouts.layout import Entry, Listing
from robust3d.foundation.errors import InputError
from robust3d.volume.dicom import read_series, series_shape
from robust3d.volume.nifti import read_grid, read_volume, read_voxels_of_label
from robust3d.volume.volume import Label, Volume

_IMAGE = re.compile(r"PANCREAS_(\d{4})(\.nii(\.gz)?)?")
_LABEL = re.compile(r"label(\d{4})\.nii(\.gz)?")


class NihPancreas:
    """Pancreas-CT of the National Institutes of Health Clinical Center (Roth et al., TCIA, 82 cases; 80 since 2020)."""

    name = "nih"
    signature = "PANCREAS_0001/.../*.dcm or PANCREAS_0001.nii.gz, and label0001.nii.gz"

    def recognises(self, root: Path) -> bool:
        """By the names of a patient, in the folder or up to two below, and of a label."""
        return bool(_images(root) and _labels(root))

    def scan(self, root: Path) -> Listing:
        """Return the patients that have image and label, and a problem for each half."""
        images, labels = _images(root), _labels(root)
        problems: list[str] = []
        entries = []
        for number, image in images:
            place = image
            if image.is_dir():
                folders = sorted({path.parent for path in image.rglob("*.dcm")})
                if len(folders) != 1:
                    problems.append(f"{image} holds {len(folders)} folders with .dcm files; one series is expected")
                    continue
                place = folders[0]
            own = [path for other, path in labels if other == number]
            if len(own) == 1:
                entries.append(Entry(f"PANCREAS_{number}", place, own[0]))
            elif own:
                problems.append(f"{image} has {len(own)} labels, {own[0]} and {own[1]}; keep one")
            else:
                problems.append(f"{image} has no label label{number}.nii.gz")
        known = {number for number, _ in images}
        problems += [f"label {path} has no image PANCREAS_{number}" for number, path in labels if number not in known]
        entries, twice = unique(entries)
        return Listing(entries, {"background": 0, "pancreas": 1}, problems=[*problems, *twice])

    def check(self, entry: Entry) -> list[str]:
        """Compare shapes but for the order of axes, which only the voxels' affine tells; the rest is not used."""
        shapes: list[tuple[int, ...]] = []
        problems = []
        for path in (entry.image, entry.label):
            try:
                shapes.append(series_shape(path) if path.is_dir() else read_grid(path)[0])
            except InputError as error:
                problems.append(str(error))
        if not problems and sorted(shapes[0]) != sorted(shapes[1]):
            problems.append(f"image {entry.image} has shape {shapes[0]} and label {entry.label} {shapes[1]}")
        return problems

    def channels(self, entry: Entry) -> int:
        """One: it is a CT."""
        return 1

    def read(self, entry: Entry, values: Sequence[int] | None) -> Volume:
        """Read a series or a converted image, and turn the label into its axes."""
        path = entry.image
        volume = read_series(path, name=entry.name) if path.is_dir() else read_volume(path, name=entry.name)
        label = _turned(read_voxels_of_label(entry.label, values), volume.affine)
        if label.shape != volume.shape:
            raise InputError(
                f"shape {volume.shape} of image {path} differs from shape {label.shape} of label {entry.label}"
            )
        return replace(volume, label=label)


def _images(root: Path) -> list[tuple[str, Path]]:
    """Look in the folder and two levels below, never inside a patient, who has hundreds of files."""
    paths: list[Path] = []
    for place, folders, files in os.walk(root, followlinks=True):
        folder = Path(place)
        paths += [folder / name for name in (*folders, *files)]
        deepest = len(folder.relative_to(root).parts) == 2
        folders[:] = [] if deepest else [name for name in folders if not _IMAGE.fullmatch(name)]
    return _numbered(_IMAGE, paths)


def _labels(root: Path) -> list[tuple[str, Path]]:
    return _numbered(_LABEL, root.rglob("label*.nii*"))


def _numbered(pattern: re.Pattern[str], paths: Iterable[Path]) -> list[tuple[str, Path]]:
    found = [(match.group(1), path) for path in paths if (match := pattern.fullmatch(path.name))]
    return sorted(found)


def _turned(label: Label, affine: NDArray[np.float64]) -> Label:
    """Return a label of axes L, P, S in those of an affine."""
    slices = nib.orientations.axcodes2ornt(("L", "P", "S"))
    turn = nib.orientations.ornt_transform(slices, nib.orientations.io_orientation(affine))
    return np.ascontiguousarray(nib.orientations.apply_orientation(label, turn))
