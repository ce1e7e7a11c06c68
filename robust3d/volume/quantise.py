# SPDX-License-Identifier: Apache-2.0
"""Rounding to a storage grid toward the clean value, so that storing never enlarges a perturbation."""

from __future__ import annotations

import torch
from torch import Tensor


def round_toward(candidate: Tensor, clean: Tensor, *, slope: float = 1.0, inter: float = 0.0) -> Tensor:
    """Round ``candidate`` to the grid ``slope * integer + inter``, toward ``clean`` where it lies between two values.

    Parameters
    ----------
    candidate, clean : Tensor
        Volumes of the same shape and unit. Where ``clean`` is off the grid and no grid value lies between
        it and ``candidate``, the grid value nearest to ``clean`` is taken.
    slope, inter : float
        Grid of the storage type; NIfTI's ``scl_slope`` and ``scl_inter``.

    Returns
    -------
    Tensor
        Grid values, float64 (exact for int16 and int32).
    """
    steps = (candidate.double() - inter) / slope
    reference = (clean.double() - inter) / slope
    toward = torch.where(steps > reference, steps.floor(), steps.ceil())
    # A float32 volume holds a grid value such as 0.1 * 7 only to its own rounding; that is no step less.
    nearest = steps.round()
    held = (nearest * slope + inter).to(candidate.dtype) == candidate
    toward = torch.where(held, nearest, toward)
    between = (toward - reference) * (steps - reference) > 0
    return torch.where(between, toward, reference.round()) * slope + inter
