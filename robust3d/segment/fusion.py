# SPDX-License-Identifier: Apache-2.0
"""Fusion: the weighted mean of window outputs where windows overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.foundation.errors import InputError, nearest
from robust3d.segment.batch import WindowBatch
from robust3d.segment.grid import Corner
from robust3d.segment.kept import Graph, KeptGraphs, record
from robust3d.segment.network import Predictor, device_of, window_logits
from robust3d.segment.supply import Supply
from robust3d.segment.windows import Weighting, WindowPlan, window_weights
from robust3d.volume.slabs import slabs

FusionKind = Literal["probabilities", "logits", "vote"]


@dataclass(frozen=True)
class Fusion:
    """How overlapping windows are combined.

    Parameters
    ----------
    kind : str
        Mean of ``"probabilities"`` (softmax) or of ``"logits"``, or majority ``"vote"``.
    weighting : str
        ``"constant"``; ``"gaussian"`` (MONAI's) or ``"nnunet"`` toward the centre of a window.
    """

    kind: FusionKind = "probabilities"
    weighting: Weighting = "constant"

    def __post_init__(self) -> None:
        for value, kinds in ((self.kind, get_args(FusionKind)), (self.weighting, get_args(Weighting))):
            if value not in kinds:
                raise InputError(f"unknown fusion {value!r}; {nearest(value, kinds)}")

    def weights(self, plan: WindowPlan, like: Tensor) -> Tensor:
        """Return the weight of each voxel of a window, on the device and in the dtype of ``like``."""
        return window_weights(plan.window, self.weighting).to(like)

    @property
    def differentiable(self) -> Fusion:
        """The fusion itself, or the mean of probabilities in place of a vote, which has no gradient."""
        return Fusion("probabilities", self.weighting) if self.kind == "vote" else self

    def output(self, logits: Tensor) -> Tensor:
        """Return what is averaged, h(z), for logits ``(B, K, ...)``."""
        if self.kind == "logits":
            return logits
        if self.kind == "probabilities":
            return torch.softmax(logits, dim=1)
        winner = logits.argmax(dim=1, keepdim=True)
        return torch.zeros_like(logits).scatter_(1, winner, 1.0)

    def log_output(self, logits: Tensor) -> Tensor:
        """Return log h(z) for probabilities, and z itself for logits: what the exact gradient works with.

        A probability underflows where its logit lies 87 below another's (float32); its logarithm does not.
        """
        return logits if self.kind == "logits" else torch.log_softmax(logits, dim=1)

    def share(self, output: Tensor, fused: Tensor, weights: Tensor, coverage: Tensor) -> Tensor:
        """Return the derivative of the fused logits by the ``log_output`` of one window.

        Parameters
        ----------
        output : Tensor, shape (B, K, ...)
            ``log_output`` of the windows.
        fused : Tensor, same shape
            Fused logits at the windows.
        weights : Tensor, shape (...)
            Weights w of a window.
        coverage : Tensor, shape (B, 1, ...)
            Sum S of the weights at the windows.
        """
        share = weights / coverage
        # d log F / d log p = w p / (S F), at most 1.
        return share if self.kind == "logits" else share * (output - fused).exp()


@torch.no_grad()
def fuse(plan: WindowPlan, volume: Tensor, network: Predictor, fusion: Fusion, batch: WindowBatch) -> Tensor:
    """Return the fused prediction F = sum_k w_k h(z_k) / sum_k w_k.

    Parameters
    ----------
    plan : WindowPlan
        Windows; they must cover the volume.
    volume : Tensor, padded shape of ``plan``
        Normalised and padded volume.
    network : callable
        Window predictor in eval mode.
    fusion : Fusion
        What is averaged, and how it is weighted.
    batch : WindowBatch
        Windows a forward pass.

    Returns
    -------
    Tensor, shape (K, *padded shape)
        Accumulated in ``volume``'s dtype, float32 at least.
    """
    mean = FusedMean(plan, fusion, volume)
    with Supply(plan, volume, device_of(network)) as supply:
        for corners, logits in batch.map(
            network,
            plan.window,
            plan.corners,
            lambda corners: window_logits(network, supply.take(corners), dtype=volume.dtype),
            gradient=False,
        ):
            mean.add(corners, logits)
    return mean.result()


class FusedMean:
    """F while it is summed up, window batch by window batch; see :func:`fuse`."""

    def __init__(self, plan: WindowPlan, fusion: Fusion, volume: Tensor) -> None:
        self._plan = plan
        self._fusion = fusion
        self._volume = volume
        self._weights = fusion.weights(plan, volume)
        self._total: Tensor | None = None

    def add(self, corners: Sequence[Corner], logits: Tensor) -> None:
        """Take in the logits ``(B, K, ...)`` of a batch, without a graph."""
        if self._total is None:
            self._total = self._volume.new_zeros((logits.shape[1], *self._plan.padded_shape))
        self._plan.add(self._total, corners, self._fusion.output(logits) * self._weights.to(logits.device))

    def result(self) -> Tensor:
        """Return F, shape ``(K, *padded shape)``."""
        total = _known(self._total)
        for rows, coverage in self._plan.covered_slabs(self._weights):
            total[:, rows].div_(coverage)
        return total


@torch.no_grad()
def fuse_logits(
    plan: WindowPlan,
    volume: Tensor,
    network: Predictor,
    fusion: Fusion,
    batch: WindowBatch,
    graphs: KeptGraphs | None = None,
) -> Tensor:
    """Return logits of which the softmax is the fused prediction: F itself for logits, log F for probabilities.

    log F is summed as a logarithm, so that it is finite and exact however small F is. A vote has no logits. ``graphs``
    takes in those of the first batches, back from :meth:`Fusion.log_output`; other parameters and shape as for
    :func:`fuse`.
    """
    logits = fusion.kind == "logits"
    mean = (FusedMean if logits else _FusedLogarithm)(plan, fusion, volume)

    def output(windows: Tensor) -> Tensor:
        return fusion.log_output(window_logits(network, windows, dtype=volume.dtype))

    def computed(corners: Sequence[Corner]) -> tuple[Tensor, Graph | None]:
        windows = supply.take(corners)
        if graphs is not None and graphs.open:
            return record(network, windows, output, values=not logits)
        return output(windows), None

    with Supply(plan, volume, device_of(network)) as supply:
        for corners, (outputs, graph) in batch.map(network, plan.window, plan.corners, computed, gradient=False):
            if graphs is not None:
                graphs.keep(corners, graph)
            del graph
            mean.add(corners, outputs)
    return mean.result()


class _FusedLogarithm(FusedMean):
    """log F while it is summed up, from the logarithms of what is fused."""

    def add(self, corners: Sequence[Corner], logits: Tensor) -> None:
        """Take in log-probabilities ``(B, K, ...)`` of a batch, without a graph."""
        if self._total is None:
            self._total = self._volume.new_full((logits.shape[1], *self._plan.padded_shape), -math.inf)
        self._plan.add_logarithms(self._total, corners, logits + self._weights.to(logits.device).log())

    def result(self) -> Tensor:
        """Return log F, shape ``(K, *padded shape)``."""
        total = _known(self._total)
        for rows, coverage in self._plan.covered_slabs(self._weights):
            total[:, rows].sub_(coverage.log_())
        return total


def largest_class(fused: Tensor) -> NDArray[np.uint8]:
    """Return the class of each voxel of a fused prediction ``(K, D1, D2, D3)``, in any scale that keeps their order."""
    raw = torch.empty(fused.shape[1:], dtype=torch.uint8)
    for rows in slabs(fused.shape[1]):
        raw[rows] = fused[:, rows].argmax(dim=0)
    return raw.numpy()


def _known(total: Tensor | None) -> Tensor:
    if total is None:
        raise InputError("a window plan without windows cannot predict")
    return total
