# SPDX-License-Identifier: Apache-2.0
"""Integer counts of a prediction against a label, the record from which every figure is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robust3d.foundation.errors import InputError
from robust3d.volume.labels import IGNORE


@dataclass(frozen=True)
class Counts:
    """True and false positives and negatives of one class in one case, in voxels."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def dsc(self) -> float:
        """Dice-Sørensen coefficient 2 TP / (2 TP + FP + FN), from 0 to 1; 1 if both masks are empty."""
        size = 2 * self.tp + self.fp + self.fn
        return 1.0 if size == 0 else 2 * self.tp / size

    @property
    def false_positive_on_empty(self) -> bool:
        """Whether the class is absent from the label and yet predicted."""
        return self.tp + self.fn == 0 and self.fp > 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)


def count(prediction: NDArray[Any], label: NDArray[Any], class_index: int = 1) -> Counts:
    """Count the voxels of one class.

    Parameters
    ----------
    prediction, label : ndarray of int, same shape
        Class of each voxel; where the label is 255, it does not count.
    class_index : int
        The class that counts as positive.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if prediction.shape != label.shape:
        raise InputError(f"prediction has shape {prediction.shape} and label {label.shape}; they must be equal")
    counts = label != IGNORE
    positive = (prediction == class_index) & counts
    true = label == class_index
    tp = int(np.count_nonzero(positive & true))
    fp = int(np.count_nonzero(positive)) - tp
    fn = int(np.count_nonzero(true)) - tp
    return Counts(tp, fp, fn, int(np.count_nonzero(counts)) - tp - fp - fn)


def dsc(prediction: NDArray[Any], label: NDArray[Any], class_index: int = 1) -> float:
    """Return the Dice-Sørensen coefficient of one class, from 0 to 1; both empty = 1, one empty = 0.

    Examples
    --------
    >>> dsc(np.array([0, 1, 1]), np.array([0, 0, 1]))
    0.6666666666666666
    """
    return count(prediction, label, class_index).dsc


def foreground_dsc(prediction: NDArray[Any], label: NDArray[Any], classes: int) -> float:
    """Return the mean DSC of the classes 1 to ``classes - 1``, from 0 to 1."""
    return float(np.mean([dsc(prediction, label, index) for index in range(1, classes)]))
