# SPDX-License-Identifier: Apache-2.0
"""One NIfTI file: opened with care, its voxels, geometry and type, and written atomically."""

from __future__ import annotations

import logging
import math
import warnings
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.imageglobals import logger as nibabel_logger
from numpy.typing import NDArray

from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder, replacing
from robust3d.foundation.memory import check_fits
from robust3d.volume.geometry import GeometryWarning
from robust3d.volume.volume import VOXEL_BYTES, Storage, Triple, Volume

SUFFIXES = (".nii", ".nii.gz")

_DAMAGE = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    OSError,
    EOFError,
    OverflowError,
    ValueError,
    zlib.error,
)
_DEFLATE_RATIO = 1032
"""No gzip stream expands by more (zlib technical notes)."""


def open_file(path: Path, *, several: bool = False) -> nib.Nifti1Image:
    """Open a file without reading its voxels.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz``.
    several : bool
        Whether it may hold several channels along a fourth axis.

    Raises
    ------
    InputError
        If it is missing, damaged, not NIfTI, has other axes, or claims more than it can hold or memory has.
    """
    try:
        there = path.is_file()
    except OSError as error:
        # A name that is too long.
        raise InputError(f"file {str(path)[:80]} cannot be looked up: {error.strerror}") from error
    if not there:
        raise InputError(f"file {path} does not exist")
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(f"file {path} is not a readable NIfTI file: its name ends in neither .nii nor .nii.gz")
    try:
        file = _load(path)
    except _DAMAGE as error:
        raise InputError(f"file {path} is not a readable NIfTI file: {error}") from error
    if not isinstance(file, nib.Nifti1Image | nib.Nifti2Image):
        raise InputError(f"file {path} is {type(file).__name__}, not NIfTI; convert it to .nii.gz")
    shape = file.shape
    if several and (len(shape) not in (3, 4) or min(shape) < 1):
        raise InputError(f"file {path} has shape {shape}; a volume has three axes, or four with channels last")
    if not several and ((len(shape) != 3 and (len(shape) != 4 or shape[3] != 1)) or min(shape) < 1):
        raise InputError(f"file {path} has shape {shape}; here three axes are expected, so split it into 3D files")
    _check_size(file, path)
    return file


def count_stored(file: nib.Nifti1Image) -> int:
    """Return the number of channels of a file: the length of its fourth axis, if it has one."""
    return int(file.shape[3]) if len(file.shape) == 4 else 1


def read_voxels(file: nib.Nifti1Image, path: Path) -> NDArray[Any]:
    """Return the values of a file, channels first if they are several.

    Raises
    ------
    InputError
        If it is truncated or damaged.
    """
    try:
        stored = np.asanyarray(file.dataobj)
    except _DAMAGE as error:
        raise InputError(f"file {path} is truncated or damaged: {error}") from error
    if stored.ndim == 3:
        return stored
    return stored[..., 0] if stored.shape[3] == 1 else np.moveaxis(stored, 3, 0)


def read_geometry(file: nib.Nifti1Image, path: Path) -> tuple[Triple, NDArray[np.float64]]:
    """Return spacing in mm and affine.

    Raises
    ------
    InputError
        If they are not finite, or the affine is not invertible.
    """
    first, second, third = (float(edge) for edge in file.header.get_zooms()[:3])
    affine = np.asarray(file.affine, dtype=np.float64)
    if not (np.isfinite([first, second, third]).all() and np.isfinite(affine).all() and np.linalg.det(affine)):
        raise InputError(f"file {path} has a damaged geometry: its spacing or affine is not finite or not invertible")
    return (first, second, third), affine


def read_storage(file: nib.Nifti1Image) -> Storage:
    """Return how a file holds its values."""
    slope, inter = (float(getattr(file.dataobj, part)) for part in ("slope", "inter"))
    codes = int(file.header["qform_code"]), int(file.header["sform_code"])
    return Storage(dtype=str(file.get_data_dtype().newbyteorder("=")), slope=slope, inter=inter, codes=codes)


def write_file(
    array: NDArray[Any], like: Volume, path: Path, storage: Storage, *, slope: float = 1.0, inter: float = 0.0
) -> None:
    """Write an array ``(D1, D2, D3)`` or, channels last, ``(D1, D2, D3, C)`` with the geometry of ``like``.

    Parameters
    ----------
    array : ndarray
        Written in its own type.
    like : Volume
        Gives affine and spacing.
    path : Path
        ``.nii`` or ``.nii.gz``; replaced atomically.
    storage : Storage
        Gives the codes of the geometry alone.
    slope, inter : float
        For the header.

    Raises
    ------
    InputError
        If the name has another ending.
    """
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"cannot save {path}: a NIfTI file ends in .nii or .nii.gz")
    make_folder(path.parent)
    file = nib.Nifti1Image(array, like.affine, dtype=array.dtype)
    qform, sform = storage.codes
    file.header.set_qform(like.affine, code=qform)
    file.header.set_sform(like.affine, code=sform)
    file.header.set_zooms((*like.spacing, *[1.0] * (array.ndim - 3)))
    file.header.set_xyzt_units("mm")
    # With a slope in the header nibabel writes the array as it is; without one it would choose a scale of its own.
    file.header.set_slope_inter(slope, inter)
    with replacing(path) as temporary:
        file.to_filename(temporary)


def _load(path: Path) -> Any:
    """Load with nibabel; a header that it mends is a warning, and one that it cannot mend only the exception."""
    notes: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        notes.append(record.getMessage())
        return False

    nibabel_logger.addFilter(keep)
    try:
        file = nib.load(path)
    finally:
        nibabel_logger.removeFilter(keep)
    for note in notes:
        warnings.warn(f"header of {path}: {note}", GeometryWarning, stacklevel=4)
    return file


def _check_size(file: nib.Nifti1Image, path: Path) -> None:
    """Refuse a header that claims more than the file can hold, before anything is allocated for it."""
    voxels = math.prod(file.shape)
    claimed = voxels * file.get_data_dtype().itemsize
    held = path.stat().st_size * (_DEFLATE_RATIO if path.suffix.lower() == ".gz" else 1)
    if claimed > held:
        raise InputError(
            f"file {path} is truncated: its header claims {claimed} bytes of voxels {file.shape}, "
            f"its {path.stat().st_size} bytes can hold {held} at most"
        )
    check_fits(claimed + voxels * VOXEL_BYTES, f"file {path}, a volume of {file.shape} voxels,")
