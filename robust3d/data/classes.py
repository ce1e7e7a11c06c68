# SPDX-License-Identifier: Apache-2.0
"""Label maps: which values of a dataset's labels make which class of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robust3d.foundation.cards import Card
from robust3d.foundation.errors import InputError, nearest
from robust3d.volume.labels import IGNORE


class ClassCard(Card):
    """One class: the values of the label that it is made of, by name or number.

    Classes count from 1 in the order of the card; what no class names is background.
    """

    name: str
    labels: tuple[str | int, ...] = Field(min_length=1)


def label_table(
    classes: Sequence[ClassCard], labels: Mapping[str, int] | None, ignore: int | None, *, where: str
) -> NDArray[np.uint8]:
    """Return the class of every value from 0 to 255 of a label; what no class names is background.

    Parameters
    ----------
    classes : sequence of ClassCard
        Without any, every value is its own class.
    labels : mapping of str to int, optional
        Names that the dataset gives to its values.
    ignore : int, optional
        Value that becomes :data:`IGNORE`, whatever the classes.
    where : str
        The dataset, for errors.

    Raises
    ------
    InputError
        If a class names a label that the dataset does not have, background or what is ignored, or two classes name the
        same.
    """
    table = np.zeros(256, np.uint8) if classes else np.arange(256, dtype=np.uint8)
    owners: dict[int, str] = {}
    for index, one in enumerate(classes, start=1):
        for label in one.labels:
            value = _value(label, labels, one.name, where)
            if not 0 < value < 256:
                raise InputError(
                    f"class {one.name} of the card holds label {label!r}, whose value in {where} is {value}; a class "
                    "is made of values from 1 to 255"
                )
            if value == ignore:
                raise InputError(
                    f"class {one.name} of the card holds label {label!r}, value {value}, which {where} calls 'ignore'; "
                    "leave it out"
                )
            if value in owners:
                raise InputError(f"classes {owners[value]} and {one.name} of the card both hold label {label!r}")
            owners[value] = one.name
            table[value] = index
    if ignore is not None:
        table[ignore] = IGNORE
    return table


def _value(label: str | int, labels: Mapping[str, int] | None, name: str, where: str) -> int:
    if isinstance(label, str):
        if labels is None:
            raise InputError(f"class {name} of the card holds label {label!r}, and {where} names none; use numbers")
        if label not in labels:
            raise InputError(
                f"class {name} of the card holds label {label!r}, which {where} has not; {nearest(label, labels)}"
            )
        return labels[label]
    if labels is not None and label not in labels.values():
        raise InputError(f"class {name} of the card holds label {label}, which {where} has not")
    return label
