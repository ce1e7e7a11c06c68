# SPDX-License-Identifier: Apache-2.0
"""What networks return (logits or probabilities, of softmax classes or one sigmoid) as logits of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robust3d.segment.network import Predictor

Outputs = Literal["logits", "probabilities"]


class AsLogits(nn.Module):
    """A module whose outputs are turned into logits; see :func:`to_logits`.

    Parameters
    ----------
    network : nn.Module
        Its weights are shared.
    outputs : str
        What it returns.
    """

    def __init__(self, network: nn.Module, outputs: Outputs) -> None:
        super().__init__()
        self.network = network
        self.outputs: Outputs = outputs

    def forward(self, windows: Tensor) -> Tensor:
        """Map ``(B, 1, d, h, w)`` to logits ``(B, K, d, h, w)`` with K of 2 or more."""
        return to_logits(self.network(windows), self.outputs)


def as_logits(network: Predictor, outputs: Outputs) -> Predictor:
    """Return a predictor of logits of at least two classes."""
    if isinstance(network, nn.Module):
        return AsLogits(network, outputs)
    return lambda windows: to_logits(network(windows), outputs)


def describe(network: Predictor, architecture: Mapping[str, Any] | None, outputs: Outputs) -> dict[str, Any]:
    """Return what results tell of a network: ``architecture`` or its class, and its outputs unless they are logits."""
    return dict(architecture or {"class": type(network).__qualname__}) | (
        {} if outputs == "logits" else {"outputs": outputs}
    )


def to_logits(output: Tensor, outputs: Outputs) -> Tensor:
    """Return logits of which the softmax is the prediction.

    Parameters
    ----------
    output : Tensor, shape (B, K, ...)
        With K = 1, the logit z or the probability p of the foreground: (0, z) or (log(1 - p), log p), since the
        softmax of (0, z) is the sigmoid of z.
    outputs : str
        What it holds.

    Returns
    -------
    Tensor, shape (B, max(K, 2), ...)
    """
    if outputs == "logits":
        return torch.cat([torch.zeros_like(output), output], dim=1) if output.shape[1] == 1 else output
    tiny = torch.finfo(output.dtype).tiny
    if output.shape[1] == 1:
        output = torch.cat([1 - output, output], dim=1)
    return output.clamp_min(tiny).log()
