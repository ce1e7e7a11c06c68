# SPDX-License-Identifier: Apache-2.0
"""Volume: one case, its image in its own unit, its label and its geometry."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robust3d.foundation.digest import digest_arrays
from robust3d.foundation.errors import InputError
from robust3d.volume.channels import count_channels, spatial_shape

Image = NDArray[np.float32]
Label = NDArray[np.uint8]
Triple = tuple[float, float, float]

VOXEL_BYTES = 13
"""Bytes of a voxel in the plainest prediction: image and two classes in float32, and the mask."""


@dataclass(frozen=True)
class Storage:
    """How the file of a volume holds its values: ``value = slope * integer + inter``, or plain floats.

    Parameters
    ----------
    dtype : str
        NumPy name of the stored type, such as ``"int16"``.
    slope, inter : float
        NIfTI's ``scl_slope`` and ``scl_inter``; 1 and 0 for none.
    codes : (int, int)
        NIfTI's ``qform_code`` and ``sform_code``, kept so that viewers place a saved volume as the original.
    """

    dtype: str = "float32"
    slope: float = 1.0
    inter: float = 0.0
    codes: tuple[int, int] = (0, 2)

    @property
    def integer(self) -> bool:
        """Whether the file holds integers."""
        return np.issubdtype(np.dtype(self.dtype), np.integer)


@dataclass(frozen=True)
class Volume:
    """One case.

    Parameters
    ----------
    image : ndarray of float32, shape (D1, D2, D3), or (C, D1, D2, D3) for C >= 2 channels
        Voxel values in the volume's own unit: HU for CT. Axes as in the file; never reoriented.
    label : ndarray of uint8, shape (D1, D2, D3), or None
        Class of each voxel; 0 is background.
    affine : ndarray of float64, shape (4, 4)
        Voxel index to millimetres (RAS+).
    spacing : (float, float, float)
        Voxel size in mm along each axis.
    name : str
        Name of the case in results.
    storage : Storage
        How its file holds the values.
    files : tuple of Storage
        How the file of each channel does, if each has its own; empty for one file with all channels.
    reference : ndarray of float32, same shape, or None
        Values toward which an integer file is rounded, so that storing never enlarges a perturbation; attacks set it.
    """

    image: Image
    label: Label | None
    affine: NDArray[np.float64]
    spacing: Triple
    name: str
    storage: Storage = field(default_factory=Storage)
    files: tuple[Storage, ...] = ()
    reference: Image | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        return spatial_shape(self.image)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return count_channels(self.image)

    def channel(self, number: int) -> Volume:
        """Return the case with one of its channels alone."""
        if self.channels == 1:
            return self
        reference = None if self.reference is None else self.reference[number]
        storage = self.files[number] if self.files else self.storage
        return replace(self, image=self.image[number], reference=reference, storage=storage, files=())

    @cached_property
    def sha256(self) -> str:
        """Identity of image, label and geometry; the name and the storage do not count."""
        label = np.zeros(0, np.uint8) if self.label is None else self.label
        return digest_arrays(self.image, label, self.affine)

    def with_image(self, image: NDArray[Any]) -> Volume:
        """Return the same case with another image of the same shape and unit."""
        if image.shape != self.image.shape:
            raise InputError(
                f"image of shape {image.shape} cannot replace that of {self.name}, shape {self.image.shape}"
            )
        return replace(self, image=np.ascontiguousarray(image, dtype=np.float32))

    def known_label(self) -> Label:
        """Return the label.

        Raises
        ------
        InputError
            If the case has none.
        """
        if self.label is None:
            raise InputError(f"case {self.name} has no label, which this needs; give one with --label")
        return self.label

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the image as NIfTI in the type of its original file; see :func:`robust3d.volume.nifti.save_image`.

        Returns
        -------
        tuple of Path
            The file, or one a channel where each channel came from its own.
        """
        from robust3d.volume.nifti import save_image

        return save_image(self, Path(path))
