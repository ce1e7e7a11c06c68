# SPDX-License-Identifier: Apache-2.0
"""NIfTI in and out: values in their own unit, labels never through float, geometry and type kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

from robust3d.foundation.errors import InputError
from robust3d.volume.channels import by_channel
from robust3d.volume.geometry import Grid, check_pair
from robust3d.volume.nifti_file import (
    SUFFIXES,
    count_stored,
    open_file,
    read_geometry,
    read_storage,
    read_voxels,
    write_file,
)
from robust3d.volume.quantise import round_toward
from robust3d.volume.volume import Label, Storage, Volume


def read_volume(
    image: str | Path | Sequence[str | Path],
    label: str | Path | None = None,
    *,
    name: str | None = None,
    classes: Iterable[int] | None = None,
) -> Volume:
    """Read one case.

    Parameters
    ----------
    image : path or sequence of paths
        NIfTI file (``.nii`` or ``.nii.gz``) with three axes, or with channels along a fourth one, which is dropped and
        not saved again if its length is 1; or one file a channel, all on one grid. Values are
        ``scl_slope * stored + scl_inter``.
    label : path, optional
        NIfTI file of whole numbers on the same grid, with three axes or a fourth of length 1.
    name : str, optional
        Name of the case; the file's name without suffix by default, of several the first one's without ``_0000``.
    classes : iterable of int, optional
        Values that the label may hold; any from 0 to 255 by default.

    Raises
    ------
    InputError
        If a file is missing, truncated, has other axes, or holds NaN, infinite or complex values; if the label holds
        fractions or unexpected values; if shapes or spacings differ.
    """
    paths = [Path(image)] if isinstance(image, str | Path) else [Path(one) for one in image]
    if not paths:
        raise InputError("a volume needs an image: name one file with all channels, or one a channel")
    files = [open_file(path, several=len(paths) == 1) for path in paths]
    grids = [(path, file.shape[:3], *read_geometry(file, path)) for path, file in zip(paths, files, strict=True)]
    for grid in grids[1:]:
        check_pair(grids[0], grid, second="channel")
    channels = [_real(file, path) for path, file in zip(paths, files, strict=True)]
    values = channels[0] if len(channels) == 1 else np.stack(channels)
    truth: Label | None = None
    if label is not None:
        label_path = Path(label)
        label_file = open_file(label_path)
        truth = _read_label(label_file, label_path, classes)
        check_pair(grids[0], (label_path, truth.shape, *read_geometry(label_file, label_path)))
    _, _, spacing, affine = grids[0]
    return Volume(
        image=values,
        label=truth,
        affine=affine,
        spacing=spacing,
        name=name or (case_name(paths[0]).removesuffix("_0000") if len(paths) > 1 else case_name(paths[0])),
        storage=read_storage(files[0]),
        files=tuple(map(read_storage, files)) if len(files) > 1 else (),
    )


def _real(file: nib.Nifti1Image, path: Path) -> NDArray[np.float32]:
    stored = read_voxels(file, path)
    if not np.issubdtype(stored.dtype, np.number) or np.issubdtype(stored.dtype, np.complexfloating):
        raise InputError(f"image {path} holds {stored.dtype} values; it must hold real numbers")
    with np.errstate(over="ignore"):
        values = stored.astype(np.float32)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise InputError(f"image {path} holds {bad} NaN or infinite voxels of {values.size}; replace them first")
    return np.ascontiguousarray(values) if values.ndim == 4 else values


def read_label(path: str | Path, like: Volume) -> Label:
    """Read a label map on the grid of ``like``.

    Raises
    ------
    InputError
        If the file is missing or damaged, holds fractions, or its shape or spacing is not that of ``like``.
    """
    file = open_file(Path(path))
    label = _read_label(file, Path(path), None)
    here = (Path(like.name), like.shape, like.spacing, like.affine)
    check_pair(here, (Path(path), label.shape, *read_geometry(file, Path(path))))
    return label


def read_voxels_of_label(path: str | Path, classes: Iterable[int] | None = None) -> Label:
    """Return the voxels of a label whose header does not tell their place.

    Raises
    ------
    InputError
        If the file is missing or damaged, or holds fractions or values other than ``classes``.
    """
    return _read_label(open_file(Path(path)), Path(path), classes)


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
    file = open_file(Path(path))
    return tuple(file.shape[:3]), *read_geometry(file, Path(path))


def read_channels(path: str | Path) -> tuple[int, Grid]:
    """Return the number of channels of an image and, as :func:`read_grid`, its grid.

    Raises
    ------
    InputError
        As :func:`read_grid`; a fourth axis holds channels.
    """
    file = open_file(Path(path), several=True)
    return count_stored(file), (tuple(file.shape[:3]), *read_geometry(file, Path(path)))


def save_image(volume: Volume, path: Path) -> tuple[Path, ...]:
    """Write the image of ``volume`` in the type of its original file, atomically.

    Parameters
    ----------
    volume : Volume
        Case to save. Integer files are rounded to their grid (``scl_slope``, ``scl_inter``): toward
        ``volume.reference`` where there is one, else to nearest.
    path : Path
        ``.nii`` or ``.nii.gz``. Several channels from one file go into one file, along its fourth axis; from one
        file each into ``NAME_0000.nii.gz``, ``NAME_0001.nii.gz``... as nnU-Net names them.

    Returns
    -------
    tuple of Path
        What was written.

    Raises
    ------
    InputError
        If a value does not fit into the integer type.
    """
    if not volume.files:
        array = _stored(volume.image, volume.reference, volume.storage, volume.name)
        last = np.moveaxis(array, 0, 3) if array.ndim == 4 else array
        _write(last, volume, path, volume.storage)
        return (path,)
    channels = by_channel(volume.image)
    references = [None] * len(channels) if volume.reference is None else list(by_channel(volume.reference))
    written = []
    for number, (image, reference, storage) in enumerate(zip(channels, references, volume.files, strict=True)):
        one = channel_file(path, number)
        _write(_stored(image, reference, storage, f"{volume.name}, channel {number}"), volume, one, storage)
        written.append(one)
    return tuple(written)


def channel_file(path: Path, number: int) -> Path:
    """Return the file of a channel, counted from 0, as nnU-Net names it."""
    ending = next((one for one in reversed(SUFFIXES) if path.name.endswith(one)), "")
    return path.with_name(f"{path.name.removesuffix(ending)}_{number:04d}{ending}")


def save_label(label: NDArray[Any], like: Volume, path: Path) -> None:
    """Write a mask as unsigned 8-bit NIfTI on the grid of ``like``, atomically."""
    write_file(label.astype(np.uint8), like, path, like.storage)


def _write(array: NDArray[Any], volume: Volume, path: Path, storage: Storage) -> None:
    scale = {"slope": storage.slope, "inter": storage.inter} if storage.integer else {}
    write_file(array, volume, path, storage, **scale)


def _stored(
    values: NDArray[np.float32], reference: NDArray[np.float32] | None, storage: Storage, name: str
) -> NDArray[Any]:
    """Return what a file of a type holds for values in their unit."""
    if not storage.integer:
        return values.astype(storage.dtype)
    image = torch.from_numpy(values)
    toward = image if reference is None else torch.from_numpy(reference)
    grid = round_toward(image, toward, slope=storage.slope, inter=storage.inter).numpy()
    steps = np.rint((grid - storage.inter) / storage.slope)
    limits = np.iinfo(np.dtype(storage.dtype))
    if steps.min() < limits.min or steps.max() > limits.max:
        raise InputError(
            f"values [{grid.min():g}, {grid.max():g}] of {name} do not fit into {storage.dtype} "
            f"with slope {storage.slope:g} and intercept {storage.inter:g}"
        )
    return steps.astype(storage.dtype)


def _read_label(file: nib.Nifti1Image, path: Path, classes: Iterable[int] | None) -> Label:
    stored = read_voxels(file, path)
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
