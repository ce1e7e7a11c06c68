# SPDX-License-Identifier: Apache-2.0
"""Losses by name, as attack cards call them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from robust3d.foundation.errors import InputError, nearest
from robust3d.losses.cross_entropy import balanced_cross_entropy, cosine_cross_entropy, cross_entropy
from robust3d.losses.dice import dice_cross_entropy, soft_dice
from robust3d.losses.margin import difference_of_logits_ratio, logit_margin, masked_margin
from robust3d.losses.masked import balanced_masked_cross_entropy, jensen_shannon, masked_cross_entropy

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits ``(B, K, ...)`` and labels ``(B, ...)`` to a scalar that an attack maximises."""

LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "cospgd": cosine_cross_entropy,
    "masked_ce": masked_cross_entropy,
    "balanced_masked_ce": balanced_masked_cross_entropy,
    "js": jensen_shannon,
    "dice": soft_dice,
    "dice_ce": dice_cross_entropy,
    "margin": logit_margin,
    "masked_margin": masked_margin,
    "dlr": difference_of_logits_ratio,
}

_SCHEDULED: dict[str, Callable[[float], Loss]] = {
    # SegPGD's lambda_t = (t - 1) / (2 T).
    "segpgd": lambda progress: partial(balanced_cross_entropy, wrong=progress / 2),
}
"""Losses that change from step to step, by (t - 1) / T."""

_LEAST_CLASSES = {"dlr": 3}

_UNMASKED = {"masked_ce": "ce", "balanced_masked_ce": "ce", "masked_margin": "margin", "segpgd": "ce", "cospgd": "ce"}
"""Losses whose value falls as voxels flip, since these drop out or change weight, and what rises instead."""

TARGETED = ("ce", "dice", "dice_ce", "margin", "dlr")
"""Losses that can be descended toward a label map: the others spend nothing on voxels that are not there yet."""


def loss_names() -> list[str]:
    """Return the names of all losses."""
    return [*LOSSES, *_SCHEDULED]


def find_loss(loss: str | Loss, progress: float = 0.0) -> Loss:
    """Return a loss given by name or as a function.

    Parameters
    ----------
    loss : str or callable
        Name or function.
    progress : float
        (t - 1) / T in step t of T, for losses with a schedule.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    if callable(loss):
        return loss
    if loss in _SCHEDULED:
        return _SCHEDULED[loss](progress)
    if loss not in LOSSES:
        raise InputError(f"unknown loss {loss!r}; {nearest(loss, loss_names())}")
    return LOSSES[loss]


def progress_loss(name: str) -> Loss:
    """Return the loss by which to judge the progress of climbing another: itself, or without its mask or weights."""
    return find_loss(_UNMASKED.get(name, name))


def check_classes(loss: str, classes: int) -> None:
    """Refuse a loss that is not defined for a number of classes (background included).

    Raises
    ------
    InputError
        With the alternative.
    """
    least = _LEAST_CLASSES.get(loss, 2)
    if classes < least:
        raise InputError(
            f"loss {loss!r} compares three logits and the model has {classes} classes; "
            "use 'margin', its two-class answer"
        )
