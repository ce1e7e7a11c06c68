# SPDX-License-Identifier: Apache-2.0
"""The network in training: its loss over all heads (Eq. 1 to 3), its logits, and a frozen copy to attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robust3d.defenses.batch import Batch
from robust3d.foundation.errors import InputError
from robust3d.losses.dice import dice_cross_entropy, soft_dice
from robust3d.networks.folding import inference_copy
from robust3d.networks.registry import TrainingLoss

_LOSSES: dict[TrainingLoss, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": cross_entropy,
    "dsc": soft_dice,
    "dice_ce": dice_cross_entropy,
}


@dataclass(frozen=True)
class Learner:
    """What an adversary sees of the network that it helps to train.

    Parameters
    ----------
    network : nn.Module
        Network in training mode, on its device.
    auxiliary_weights : tuple of float
        Weight xi of each auxiliary head.
    loss : str
        ``"ce"``, ``"dsc"`` or ``"dice_ce"``, of every head.
    precision : str
        ``"float32"``, or ``"bfloat16"`` for automatic mixed precision.
    """

    network: nn.Module
    auxiliary_weights: tuple[float, ...]
    loss: TrainingLoss
    precision: str = "float32"

    def frozen(self) -> nn.Module:
        """Return a copy as it is now, in eval mode and without gradients for its parameters."""
        return inference_copy(self.network)

    def supervised(self, batch: Batch, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss over all heads and the main logits for ``image``, the windows of ``batch`` or perturbed."""
        with self.autocast():
            heads = head_logits(self.network, _windows(batch, image), batch.label)
            return weighted_loss(heads, batch.label, self.auxiliary_weights, loss=self.loss), heads[0].float()

    def logits(self, batch: Batch, image: Tensor) -> Tensor:
        """Return the main logits for ``image``, shape (B, K, w, w, w)."""
        with self.autocast():
            logits: Tensor = self.network(_windows(batch, image))
            return logits.float()

    def autocast(self) -> torch.autocast:
        """Return the context of mixed precision; left after each use, since it keeps casts of old weights."""
        device = next(self.network.parameters()).device
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")


def head_logits(network: nn.Module, windows: Tensor, label: Tensor) -> list[Tensor]:
    """Return the logits of all heads, the main one first.

    Parameters
    ----------
    network : nn.Module
        With ``forward_supervised`` (main logits first) if it has auxiliary heads.
    windows : Tensor, shape (B, 1, w, w, w)
        Normalised windows.
    label : Tensor of int64, shape (B, w, w, w)
        Class of each voxel.

    Raises
    ------
    InputError
        If the network does not return logits of the size of the windows.
    """
    supervised = getattr(network, "forward_supervised", None)
    outputs = list(supervised(windows)) if supervised is not None else [network(windows)]
    for logits in outputs:
        if not isinstance(logits, Tensor) or logits.shape[2:] != label.shape[1:]:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(
                f"the network returned {found} for windows of shape {tuple(windows.shape)}; it must return logits "
                "(B, K, d, h, w)"
            )
    return outputs


def weighted_loss(heads: list[Tensor], label: Tensor, weights: tuple[float, ...], *, loss: TrainingLoss) -> Tensor:
    """Return the loss of the main head plus the weighted ones of the auxiliary heads (Eq. 1 to 3)."""
    total = torch.zeros((), device=label.device)
    for weight, logits in zip((1.0, *weights), heads, strict=False):
        total = total + weight * _LOSSES[loss](logits.float(), label)
    return total


def supervised_loss(
    network: nn.Module, windows: Tensor, label: Tensor, weights: tuple[float, ...], *, loss: TrainingLoss = "ce"
) -> Tensor:
    """Return the loss of a network over all its heads.

    Parameters
    ----------
    network, windows, label
        As in :func:`head_logits`.
    weights : tuple of float
        Weight xi of each auxiliary head.
    loss : str
        ``"ce"``, mean over voxels, ``"dsc"``, soft Dice over the voxels of all windows, or ``"dice_ce"``, their sum.
    """
    return weighted_loss(head_logits(network, windows, label), label, weights, loss=loss)


def _windows(batch: Batch, image: Tensor) -> Tensor:
    return batch.normalised(image).contiguous(memory_format=torch.channels_last_3d)
