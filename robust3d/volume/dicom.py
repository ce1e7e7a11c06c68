# SPDX-License-Identifier: Apache-2.0
"""A DICOM series as a volume: one file a slice, values in HU, through SimpleITK (extra ``dicom``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from robust3d.foundation.errors import InputError
from robust3d.volume.volume import Storage, Volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_POSITION = "0020|0032"
"""Tag of the position of a slice's first voxel, in mm."""


def series_files(folder: Path) -> list[str]:
    """Return the files of the one series of a folder, in the order of their positions.

    Raises
    ------
    InputError
        If SimpleITK is not installed, or the folder holds no series or several.
    """
    reader = _simpleitk().ImageSeriesReader
    series = reader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise InputError(f"folder {folder} holds {len(series)} DICOM series; keep one in each folder")
    return list(reader.GetGDCMSeriesFileNames(str(folder), series[0]))


def series_shape(folder: Path) -> tuple[int, int, int]:
    """Return columns, rows and slices of a series from the header of one file and the number of files.

    Raises
    ------
    InputError
        As :func:`series_files`, or if the first file is damaged.
    """
    sitk, files = _simpleitk(), series_files(folder)
    reader = sitk.ImageFileReader()
    reader.SetFileName(files[0])
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"file {files[0]} is not a readable DICOM file: {error}") from error
    columns, rows = reader.GetSize()[:2]
    return columns, rows, len(files)


def read_series(folder: Path, *, name: str) -> Volume:
    """Read the series of a folder as a volume without a label.

    Axes are those of the slices: columns (to the left of a patient who lies as usual), rows (to the back), slices
    (upward); the affine tells them in RAS+ millimetres.

    Raises
    ------
    InputError
        As :func:`series_files`; if a file is damaged, in colour or tells no position; if slices differ in size, or one
        is missing between others or there twice.
    """
    sitk, files = _simpleitk(), series_files(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"the DICOM series in {folder} cannot be read: {error}") from error
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() != 3:
        raise InputError(
            f"the DICOM series in {folder} has {image.GetNumberOfComponentsPerPixel()} values a voxel and "
            f"{image.GetDimension()} axes; a volume has one value (no colour) and three axes"
        )
    _check_gaps(folder, reader, files)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    values = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    first, second, third = image.GetSpacing()
    integer = np.issubdtype(values.dtype, np.integer)
    return Volume(
        image=np.ascontiguousarray(values, dtype=np.float32),
        label=None,
        affine=_LPS_TO_RAS @ affine,
        spacing=(first, second, third),
        name=name,
        storage=Storage(dtype="int16" if integer else "float32", codes=(1, 1)),
    )


def _check_gaps(folder: Path, reader: Any, files: list[str]) -> None:
    """Refuse slices at unequal distances, which SimpleITK would place as if none were missing."""
    places = np.array([_position(reader, number, file) for number, file in enumerate(files)])
    gaps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    if len(gaps) and (gaps.min() <= 0 or gaps.max() - gaps.min() > 0.1 * gaps.min()):
        raise InputError(
            f"slices of {folder} are {gaps.min():.3g} to {gaps.max():.3g} mm apart; one is missing or there twice"
        )


def _position(reader: Any, number: int, file: str) -> list[float]:
    try:
        place = [float(part) for part in reader.GetMetaData(number, _POSITION).split("\\")]
    except (RuntimeError, ValueError):
        place = []
    if len(place) != 3 or not np.isfinite(place).all():
        raise InputError(f"file {file} tells no position of its slice (tag 0020,0032); export the series anew")
    return place


def _simpleitk() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise InputError("a DICOM series needs SimpleITK; pip install 'robust3d[dicom]'") from error
    return SimpleITK
