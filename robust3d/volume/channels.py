# SPDX-License-Identifier: Apache-2.0
"""Channels of an image: ``(D1, D2, D3)`` for one, ``(C, D1, D2, D3)`` for C >= 2; boxes and shapes are spatial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.foundation.errors import InputError

Place = tuple[slice, slice, slice]

_Image = TypeVar("_Image", bound=NDArray[Any] | Tensor)


def spatial_shape(image: NDArray[Any] | Tensor) -> tuple[int, int, int]:
    """Return the voxels along the last three axes.

    Raises
    ------
    InputError
        If the image has not three axes, or four with two channels or more.
    """
    shape = tuple(image.shape)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[0] < 2):
        raise InputError(
            f"a volume has three axes (D1, D2, D3), or channels before them (C, D1, D2, D3) if they are several; this "
            f"one has shape {shape}"
        )
    return shape[-3], shape[-2], shape[-1]


def count_channels(image: NDArray[Any] | Tensor) -> int:
    """Return the number of channels of an image."""
    return int(image.shape[0]) if image.ndim == 4 else 1


def crop(image: _Image, place: Place) -> _Image:
    """Return a view of some voxels with all channels."""
    return cast(_Image, image[(..., *place)])


def by_channel(image: _Image) -> _Image:
    """Return a view ``(C, D1, D2, D3)``, for one channel too."""
    return image if image.ndim == 4 else cast(_Image, image[None])


def as_image(channels: _Image) -> _Image:
    """Return ``(C, D1, D2, D3)`` as an image, without the axis of a single channel."""
    return cast(_Image, channels[0]) if channels.shape[0] == 1 else channels


def spread(values: Sequence[float], image: Tensor) -> Tensor:
    """Return one value a channel ``(C, 1, 1, 1)``, on the device and in the dtype of an image.

    Raises
    ------
    InputError
        If the image has another number of channels.
    """
    if count_channels(image) != len(values):
        raise InputError(
            f"{len(values)} values are given, one a channel, and the volume has {count_channels(image)} channels"
        )
    column = torch.tensor([float(value) for value in values], dtype=torch.float64).to(image)
    return column.view(-1, *[1] * 3) if image.ndim == 4 else column.view(1, 1, 1)


def most_changed(origin: NDArray[np.float32], images: Iterable[NDArray[np.float32]]) -> int:
    """Return the channel of the largest change in any of some images, each measured by its own range of values."""
    if origin.ndim == 3:
        return 0
    ranges = np.maximum(np.ptp(origin, axis=(1, 2, 3)), np.finfo(np.float32).tiny)
    changes = [np.abs(image - origin).max(axis=(1, 2, 3)) / ranges for image in images]
    return int(np.max(changes, axis=0).argmax()) if changes else 0
