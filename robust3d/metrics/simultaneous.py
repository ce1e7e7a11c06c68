# SPDX-License-Identifier: Apache-2.0
"""Paired differences in many rows judged at once: which means are above zero, at one false alarm rate for all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf, nan
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from robust3d.foundation.errors import InputError

Method = Literal["sign flips", "Bonferroni t"]
"""How the critical value was found."""

_EXACT = 13
"""Largest number of cases of which all sign patterns are tried."""

_PATTERNS = 10_000
"""Sign patterns for more cases, the observed one included."""

_PATTERNS_BEYOND = 2
"""Sign flips decide only if this many patterns can lie beyond the critical value; with fewer, they find no more than
t does, or nothing at all."""


@dataclass(frozen=True)
class Simultaneous:
    """One-sided tests of all rows at one family-wise confidence.

    Parameters
    ----------
    mean, std : ndarray of float, shape (rows,)
        Of the differences over cases; the standard deviation is the sample's (divided by ``cases - 1``).
    low : ndarray of float, shape (rows,)
        Lower ends of the simultaneous one-sided interval, ``mean - critical * std / sqrt(cases)``.
    p : ndarray of float, shape (rows,)
        Probability that the largest statistic of all rows is as large as this row's where nothing changed.
    above : ndarray of bool, shape (rows,)
        Where the mean is significantly above zero: ``low > 0`` and, equally, ``p <= 1 - confidence``.
    critical : float
        Value that a row's t statistic must exceed.
    cases : int
        Number of paired cases.
    method : str
        ``"sign flips"`` or ``"Bonferroni t"``.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    low: NDArray[np.float64]
    p: NDArray[np.float64]
    above: NDArray[np.bool_]
    critical: float
    cases: int
    method: Method


_DECIMALS = 10
"""Of statistics: patterns that are equal in exact arithmetic are equal then."""

_UNREACHABLE = 1e4
"""Critical value of t from which on no loss is taken to be detectable."""


def losses_above_zero(differences: NDArray[Any], *, confidence: float = 0.95) -> Simultaneous:
    """Test of each row whether the mean difference is above zero, all rows together.

    From six cases on (at 95%) by sign flips: where nothing but noise changed, the two values of a case could as well be
    swapped, so the signs of all differences of a case, in all rows at once, are random. The largest t statistic over
    rows, over all such patterns (10,000 from a fixed seed beyond 13 cases), gives the critical value
    (Westfall and Young 1993, single step). That bounds the probability of any false alarm by ``1 - confidence``
    whatever the distribution and however the rows depend on each other. With fewer cases there are too few patterns,
    and the critical value is the t quantile with ``cases - 1`` degrees of freedom at ``(1 - confidence) / rows``
    (Bonferroni): exact for normal differences, and conservative for scale mixtures of them, which have heavier tails
    (Bakirov and Székely 2006).

    Parameters
    ----------
    differences : ndarray of float, shape (cases, rows)
        Paired differences, positive for a loss.
    confidence : float
        One minus the family-wise rate of false alarms.

    Raises
    ------
    InputError
        If there are fewer than two cases, no rows, or the confidence is not between 0.5 and 1.
    """
    values = np.asarray(differences, dtype=np.float64)
    cases, rows = values.shape
    if cases < 2 or rows == 0:
        raise InputError(
            f"found {cases} paired cases in {rows} rows; to tell a loss from noise takes at least 2 cases and 1 row"
        )
    if not 0.5 < confidence < 1:
        raise InputError(f"confidence {confidence} must lie between 0.5 and 1")
    alpha = 1 - confidence
    observed = _correlation(values, np.ones((1, cases)))[0]
    method: Method
    if alpha * 2 ** min(cases, _EXACT) >= _PATTERNS_BEYOND:
        largest = np.sort(_correlation(values, _signs(cases)).max(axis=1))
        # As many as floor(alpha * patterns) may reach beyond; the small number mends 0.05 * 1000 = 49.99...
        beyond = int(alpha * len(largest) + 1e-9)
        # The upper edge of what is rounded to that value, so that the row that holds it does not exceed itself.
        bound = min(1.0, float(largest[-1 - beyond]) + 10**-_DECIMALS / 2)
        p = 1 - np.searchsorted(largest, observed, side="left") / len(largest)
        method = "sign flips"
    else:
        bound = float(_from_t(stats.t.isf(alpha / rows, cases - 1), cases))
        p = np.minimum(1, rows * stats.t.sf(_to_t(observed, cases), cases - 1))
        method = "Bonferroni t"
    mean, std = values.mean(axis=0), values.std(axis=0, ddof=1)
    critical = float(_to_t(np.array(bound), cases))
    # An infinite critical value leaves no limit, not even where there is no spread.
    width = critical * std / np.sqrt(cases) if np.isfinite(critical) else np.full(rows, np.inf)
    return Simultaneous(mean, std, mean - width, p, observed > bound, critical, cases, method)


def smallest_detectable(
    std: float, cases: int, critical: float, *, tolerance: float = 0.0, power: float = 0.8
) -> float:
    """Return the mean paired loss that is found with the given power.

    The larger of two: ``ncp * std / sqrt(cases)``, where a noncentral t variable with ``cases - 1`` degrees of freedom
    and noncentrality ``ncp`` exceeds ``critical`` with probability ``power``; and
    ``tolerance + z * std / sqrt(cases)``, whose observed mean exceeds ``tolerance`` with that probability (``z`` the
    normal quantile of ``power``). Differences are taken as normal with the observed spread. NaN where ``std`` is zero,
    infinite where the critical value is beyond 10,000.

    Parameters
    ----------
    std : float
        Sample standard deviation of the paired differences.
    cases : int
        Number of paired cases, at least 2.
    critical : float
        Critical value of the t statistic.
    tolerance : float
        Smallest loss that counts, in the unit of ``std``.
    power : float
        Probability of finding it.
    """
    if std == 0:
        return nan
    if critical > _UNREACHABLE:
        return inf
    error = std / np.sqrt(cases)
    needed = _noncentrality(critical, cases - 1, power)
    return float(max(needed * error, tolerance + stats.norm.ppf(power) * error))


@lru_cache(maxsize=128)
def _noncentrality(critical: float, freedom: int, power: float) -> float:
    """Return the noncentrality with which a t variable exceeds the critical value with the given probability."""

    def excess(noncentrality: float) -> float:
        return float(stats.nct.sf(critical, freedom, noncentrality)) - power

    high = 1.0
    while excess(high) < 0:
        high *= 2
    return float(optimize.brentq(excess, 0.0, high))


def _correlation(values: NDArray[np.float64], signs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sum(d) / sqrt(n sum(d^2)) by sign pattern and row: grows with t, yet stays finite without spread.

    Sign flips leave the denominator as it is, which makes all patterns one matrix product.
    """
    size = np.sqrt(len(values) * np.square(values).sum(axis=0))
    scaled = np.divide(values, size, out=np.zeros_like(values), where=size > 0)
    correlation: NDArray[np.float64] = np.round(signs @ scaled, _DECIMALS)
    return correlation


def _signs(cases: int) -> NDArray[np.float64]:
    """Return patterns of plus and minus one, shape (patterns, cases), the observed one first."""
    if cases <= _EXACT:
        bits = np.arange(2**cases)[:, None] >> np.arange(cases) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, (_PATTERNS, cases))
        bits[0] = 0
    return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)


def _to_t(correlation: NDArray[np.float64], cases: int) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        t: NDArray[np.float64] = correlation * np.sqrt(cases - 1) / np.sqrt(1 - np.square(correlation))
    return t


def _from_t(t: float, cases: int) -> float:
    return float(t / np.sqrt(cases - 1 + t * t))
