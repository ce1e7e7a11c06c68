# SPDX-License-Identifier: Apache-2.0
"""``dataset.json`` of an nnU-Net v2 model: its input channels, and its classes or regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robust3d.data.layouts.documents import read_object
from robust3d.foundation.errors import InputError


@dataclass(frozen=True)
class Labels:
    """What the channels of a network mean.

    Parameters
    ----------
    heads : int
        Output channels: background and classes, or one a region.
    order : tuple of int
        Class of each region (``regions_class_order``); empty for classes.
    channels : int
        Input channels.
    """

    heads: int
    order: tuple[int, ...] = ()
    channels: int = 1


def read_labels(path: Path) -> Labels:
    """Return classes or regions; the label ``ignore`` is neither.

    Raises
    ------
    InputError
        If no channel is named, its labels are not 0 to K - 1, or its regions do not make them all.
    """
    content = read_object(path)
    channels = content.get("channel_names", content.get("modality"))
    if not isinstance(channels, Mapping) or not channels:
        raise InputError(f"{path} has no channel_names; give the folder of a model trained by nnU-Net v2")
    labels = content.get("labels")
    if not isinstance(labels, Mapping) or labels.get("background") != 0:
        raise InputError(f"{path} needs labels as name: integer or list of integers, with background 0")
    parts = {str(name): _values(value, name, path) for name, value in labels.items() if name != "ignore"}
    values = sorted({value for one in parts.values() for value in one})
    if values != list(range(len(values))):
        raise InputError(f"{path} has the labels {values}; they must be 0 to {len(values) - 1} without gaps")
    if all(len(one) == 1 for one in parts.values()):
        return Labels(heads=len(values), channels=len(channels))
    regions = [one for one in parts.values() if one != (0,)]
    order = content.get("regions_class_order")
    if (
        not isinstance(order, list)
        or len(order) != len(regions)
        or sorted(map(str, order)) != sorted(map(str, values[1:]))
    ):
        raise InputError(
            f"{path} has {len(regions)} regions of the labels {values[1:]} and regions_class_order {order}; robust3d "
            "needs each of these labels in it once"
        )
    return Labels(heads=len(regions), order=tuple(order), channels=len(channels))


def _values(value: Any, name: object, path: Path) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(type(one) is int and 0 <= one < 255 for one in values):
        raise InputError(f"{path}: label {name!r} is {value!r}; it must be an integer from 0 to 254 or a list of them")
    return tuple(values)
