# SPDX-License-Identifier: Apache-2.0
"""Losses by name, as attack cards call them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from robust3d.foundation.errors import InputError, nearest
from robust3d.losses.cross_entropy import cross_entropy
from robust3d.losses.dice import soft_dice

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits ``(B, K, ...)`` and labels ``(B, ...)`` to a scalar that an attack maximises."""

LOSSES: dict[str, Loss] = {"ce": cross_entropy, "dice": soft_dice}


def find_loss(loss: str | Loss) -> Loss:
    """Return a loss given by name or as a function.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise InputError(f"unknown loss {loss!r}; {nearest(loss, LOSSES)}")
    return LOSSES[loss]
