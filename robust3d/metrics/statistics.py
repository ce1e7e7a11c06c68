# SPDX-License-Identifier: Apache-2.0
"""Statistics over cases: summary, and the paired drop with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from robust3d.foundation.errors import InputError

_RESAMPLES = 9999


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (population, as ``numpy.std``), median, largest and smallest value over cases."""

    mean: float
    std: float
    median: float
    max: float
    min: float


@dataclass(frozen=True)
class Drop:
    """Mean paired difference and its bootstrap interval."""

    mean: float
    low: float
    high: float


def summarise(values: Sequence[float]) -> Summary:
    """Summarise one value a case.

    Raises
    ------
    InputError
        If there are none.
    """
    if len(values) == 0:
        raise InputError("no case to summarise")
    array = np.asarray(values, dtype=np.float64)
    return Summary(
        mean=float(array.mean()),
        std=float(array.std()),
        median=float(np.median(array)),
        max=float(array.max()),
        min=float(array.min()),
    )


def paired_drop(clean: Sequence[float], attacked: Sequence[float], *, confidence: float = 0.95) -> Drop:
    """Return the mean of ``clean - attacked`` over cases, with its bootstrap percentile interval.

    Parameters
    ----------
    clean, attacked : sequence of float
        One value a case, in the same order of cases.
    confidence : float
        Coverage of the interval; 9,999 resamples of the cases from a fixed seed. With one case the interval
        is unbounded (NaN).

    Raises
    ------
    InputError
        If the lengths differ, so that nothing is paired.
    """
    if len(clean) != len(attacked):
        raise InputError(f"a paired drop needs equal cases, found {len(clean)} clean and {len(attacked)} attacked")
    difference = np.asarray(clean, dtype=np.float64) - np.asarray(attacked, dtype=np.float64)
    if len(difference) < 2:
        return Drop(summarise(difference.tolist()).mean, float("nan"), float("nan"))
    interval = stats.bootstrap(
        (difference,),
        np.mean,
        confidence_level=confidence,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Drop(float(difference.mean()), float(interval.low), float(interval.high))
