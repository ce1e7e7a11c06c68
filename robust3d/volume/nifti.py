# SPDX-License-Identifier: Apache-2.0
"""NIfTI in and out: values in their own unit, labels never through float, geometry and type kept."""

from __future__ import annotations

import logging
import math
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from nibabel.imageglobals import logger as nibabel_logger
from numpy.typing import NDArray

from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder, replacing
from robust3d.foundation.memory import check_fits
from robust3d.volume.geometry import GeometryWarning, Grid, check_pair
from robust3d.volume.quantise import round_toward
from robust3d.volume.volume import VOXEL_BYTES, Label, Storage, Triple, Volume

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


def read_volume(
    image: str | Path,
    label: str | Path | None = None,
    *,
    name: str | None = None,
    classes: Iterable[int] | None = None,
) -> Volume:
    """Read one case.

    Parameters
    ----------
    image : path
        NIfTI file (``.nii`` or ``.nii.gz``) with three axes, or a fourth of length 1 (time), which is dropped and not
        saved again; values are ``scl_slope * stored + scl_inter``.
    label : path, optional
        NIfTI file of whole numbers on the same grid, likewise with three axes or a fourth of length 1.
    name : str, optional
        Name of the case; the file's name without suffix by default.
    classes : iterable of int, optional
        Values that the label may hold; any from 0 to 255 by default.

    Raises
    ------
    InputError
        If a file is missing, truncated, not 3D, or holds NaN, infinite or complex values; if the label holds
        fractions or unexpected values; if shapes or spacings differ.
    """
    image_path = Path(image)
    file = _open(image_path)
    stored = _read(file, image_path)
    if not np.issubdtype(stored.dtype, np.number) or np.issubdtype(stored.dtype, np.complexfloating):
        raise InputError(f"image {image_path} holds {stored.dtype} values; it must hold real numbers")
    with np.errstate(over="ignore"):
        values = stored.astype(np.float32)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise InputError(f"image {image_path} holds {bad} NaN or infinite voxels of {values.size}; replace them first")
    spacing, affine = _geometry(file, image_path)
    truth: Label | None = None
    if label is not None:
        label_path = Path(label)
        label_file = _open(label_path)
        truth = _read_label(label_file, label_path, classes)
        here = (image_path, values.shape, spacing, affine)
        check_pair(here, (label_path, truth.shape, *_geometry(label_file, label_path)))
    return Volume(
        image=values,
        label=truth,
        affine=affine,
        spacing=spacing,
        name=name or case_name(image_path),
        storage=_storage(file),
    )


def read_label(path: str | Path, like: Volume) -> Label:
    """Read a label map on the grid of ``like``.

    Raises
    ------
    InputError
        If the file is missing or damaged, holds fractions, or its shape or spacing is not that of ``like``.
    """
    file = _open(Path(path))
    label = _read_label(file, Path(path), None)
    here = (Path(like.name), like.shape, like.spacing, like.affine)
    check_pair(here, (Path(path), label.shape, *_geometry(file, Path(path))))
    return label


def read_voxels_of_label(path: str | Path, classes: Iterable[int] | None = None) -> Label:
    """Return the voxels of a label whose header does not tell their place.

    Raises
    ------
    InputError
        If the file is missing or damaged, or holds fractions or values other than ``classes``.
    """
    return _read_label(_open(Path(path)), Path(path), classes)


def case_name(path: Path) -> str:
    """Return the name of a file without the suffix of NIfTI."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def read_grid(path: str | Path) -> Grid:
    """Return shape, spacing in mm and affine of a NIfTI file without reading its voxels.

    Raises
    ------
    InputError
        If the file is missing, damaged as far as its header tells, or not 3D.
    """
    file = _open(Path(path))
    return tuple(file.shape[:3]), *_geometry(file, Path(path))


def save_image(volume: Volume, path: Path) -> None:
    """Write the image of ``volume`` in the type of its original file, atomically.

    Parameters
    ----------
    volume : Volume
        Case to save. Integer files are rounded to their grid (``scl_slope``, ``scl_inter``): toward
        ``volume.reference`` where there is one, else to nearest.
    path : Path
        ``.nii`` or ``.nii.gz``.

    Raises
    ------
    InputError
        If a value does not fit into the integer type.
    """
    storage = volume.storage
    if not storage.integer:
        _write(volume.image.astype(storage.dtype), volume, path)
        return
    image = torch.from_numpy(volume.image)
    reference = image if volume.reference is None else torch.from_numpy(volume.reference)
    grid = round_toward(image, reference, slope=storage.slope, inter=storage.inter).numpy()
    steps = np.rint((grid - storage.inter) / storage.slope)
    limits = np.iinfo(np.dtype(storage.dtype))
    if steps.min() < limits.min or steps.max() > limits.max:
        raise InputError(
            f"values [{grid.min():g}, {grid.max():g}] of {volume.name} do not fit into {storage.dtype} "
            f"with slope {storage.slope:g} and intercept {storage.inter:g}"
        )
    _write(steps.astype(storage.dtype), volume, path, slope=storage.slope, inter=storage.inter)


def save_label(label: NDArray[Any], like: Volume, path: Path) -> None:
    """Write a mask as unsigned 8-bit NIfTI on the grid of ``like``, atomically."""
    _write(label.astype(np.uint8), like, path)


def _write(array: NDArray[Any], like: Volume, path: Path, *, slope: float = 1.0, inter: float = 0.0) -> None:
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"cannot save {path}: a NIfTI file ends in .nii or .nii.gz")
    make_folder(path.parent)
    file = nib.Nifti1Image(array, like.affine, dtype=array.dtype)
    qform, sform = like.storage.codes
    file.header.set_qform(like.affine, code=qform)
    file.header.set_sform(like.affine, code=sform)
    file.header.set_zooms(like.spacing)
    file.header.set_xyzt_units("mm")
    # With a slope in the header nibabel writes the array as it is; without one it would choose a scale of its own.
    file.header.set_slope_inter(slope, inter)
    with replacing(path) as temporary:
        file.to_filename(temporary)


def _open(path: Path) -> nib.Nifti1Image:
    if not path.is_file():
        raise InputError(f"file {path} does not exist")
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(f"file {path} is not a readable NIfTI file: its name ends in neither .nii nor .nii.gz")
    try:
        file = _load(path)
    except _DAMAGE as error:
        raise InputError(f"file {path} is not a readable NIfTI file: {error}") from error
    if not isinstance(file, nib.Nifti1Image | nib.Nifti2Image):
        raise InputError(f"file {path} is {type(file).__name__}, not NIfTI; convert it to .nii.gz")
    if (len(file.shape) != 3 and (len(file.shape) != 4 or file.shape[3] != 1)) or min(file.shape) < 1:
        raise InputError(f"file {path} has shape {file.shape}; a volume has three axes, so split it into 3D files")
    _check_size(file, path)
    return file


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


def _read(file: nib.Nifti1Image, path: Path) -> NDArray[Any]:
    try:
        stored = np.asanyarray(file.dataobj)
    except _DAMAGE as error:
        raise InputError(f"file {path} is truncated or damaged: {error}") from error
    return stored[..., 0] if stored.ndim == 4 else stored


def _read_label(file: nib.Nifti1Image, path: Path, classes: Iterable[int] | None) -> Label:
    stored = _read(file, path)
    if not np.issubdtype(stored.dtype, np.number) or np.issubdtype(stored.dtype, np.complexfloating):
        raise InputError(f"label {path} holds {stored.dtype} values; it must hold whole numbers")
    values = np.unique(stored)
    fractions = values[~np.isfinite(values) | (values != np.rint(values))]
    if fractions.size:
        raise InputError(f"label {path} holds {fractions[0]:g}; a label holds whole numbers only")
    allowed = set(range(256)).intersection(range(256) if classes is None else classes)
    unexpected = [int(value) for value in values if int(value) not in allowed]
    if unexpected:
        known = "0 to 255" if classes is None else ", ".join(str(value) for value in sorted(allowed))
        raise InputError(f"label {path} holds class {unexpected[0]}; expected {known}")
    return stored.astype(np.uint8)


def _geometry(file: nib.Nifti1Image, path: Path) -> tuple[Triple, NDArray[np.float64]]:
    first, second, third = (float(edge) for edge in file.header.get_zooms()[:3])
    affine = np.asarray(file.affine, dtype=np.float64)
    if not (np.isfinite([first, second, third]).all() and np.isfinite(affine).all() and np.linalg.det(affine)):
        raise InputError(f"file {path} has a damaged geometry: its spacing or affine is not finite or not invertible")
    return (first, second, third), affine


def _storage(file: nib.Nifti1Image) -> Storage:
    slope, inter = (float(getattr(file.dataobj, part)) for part in ("slope", "inter"))
    codes = int(file.header["qform_code"]), int(file.header["sform_code"])
    return Storage(dtype=str(file.get_data_dtype().newbyteorder("=")), slope=slope, inter=inter, codes=codes)
