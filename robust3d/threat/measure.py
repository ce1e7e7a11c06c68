# SPDX-License-Identifier: Apache-2.0
"""Sizes of changes, and bounds of channels in proportion."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from robust3d.foundation.errors import InputError
from robust3d.volume.channels import spread


def root_mean_square(change: Tensor) -> float:
    """Return the root of the mean square over voxels."""
    return float(change.double().square().mean().sqrt())


def largest(change: Tensor) -> float:
    """Return the largest absolute value."""
    return float(change.abs().max())


def whole(volume: Tensor) -> bool:
    """Return whether all values are whole numbers."""
    return bool((volume == volume.round()).all())


def weighed(change: Tensor, shares: Sequence[float]) -> Tensor:
    """Return the channels that may change, each divided by its share of epsilon, in float64."""
    exact = change.double()
    column = spread(shares, exact)
    chosen = column.flatten() > 0
    return exact[chosen] / column[chosen]


def scaled_epsilons(epsilons: Sequence[float], epsilon: float, unit: str) -> tuple[float, ...]:
    """Return bounds of channels in proportion, with ``epsilon`` as the largest of them.

    Raises
    ------
    InputError
        If one is negative or not finite, or all are 0 and epsilon is not.
    """
    wrong = [one for one in epsilons if not (math.isfinite(one) and one >= 0)]
    if wrong:
        raise InputError(f"the epsilon of a channel must be zero or a positive number of {unit}, not {wrong[0]}")
    top = max(epsilons)
    if top == epsilon:
        return tuple(epsilons)
    if top == 0:
        raise InputError(f"epsilon is {epsilon:g} {unit} and that of every channel 0; let one of them change")
    return tuple(one / top * epsilon for one in epsilons)
