# SPDX-License-Identifier: Apache-2.0
"""The loss gradient of a whole volume from one window batch at a time: window mean (the chapter's) and exact."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robust3d.losses.registry import Loss
from robust3d.networks.lean import lean_graphs
from robust3d.segment.batch import WindowBatch
from robust3d.segment.cost import record_windows
from robust3d.segment.fusion import FusedMean, Fusion, fuse_logits
from robust3d.segment.grid import Corner
from robust3d.segment.influence import influence, windows_with_share
from robust3d.segment.kept import SHARE, KeptGraphs
from robust3d.segment.network import Predictor, device_of, window_logits
from robust3d.segment.supply import Supply
from robust3d.segment.windows import WindowPlan


def window_mean_gradient(
    plan: WindowPlan,
    volume: Tensor,
    label: Tensor,
    network: Predictor,
    loss: Loss,
    batch: WindowBatch,
    *,
    fused: FusedMean | None = None,
) -> tuple[float, Tensor]:
    """Sum the gradients of each window's own loss and divide by the number of windows over each voxel.

    Parameters
    ----------
    plan : WindowPlan
        Windows to attack; voxels that none of them covers get gradient 0.
    volume : Tensor, padded shape
        Normalised and padded volume.
    label : Tensor of int, padded shape
        Class of each voxel; 0 in the padding.
    network : callable
        Window predictor, frozen and in eval mode.
    loss : callable
        Applied to each window alone.
    batch : WindowBatch
        Windows a forward and backward pass.
    fused : FusedMean, optional
        Takes in the logits as well: the prediction of the same windows without a pass of its own.

    Returns
    -------
    (float, Tensor)
        Mean of the windows' losses, and the gradient, padded shape.
    """
    total = torch.zeros_like(volume)
    value = 0.0
    device = device_of(network)

    def differentiated(corners: Sequence[Corner]) -> tuple[Tensor, Tensor, Tensor]:
        windows = supply.take(corners).requires_grad_(True)
        logits = window_logits(network, windows, dtype=volume.dtype)
        labels = plan.gather(label, corners).to(device).long()
        # Per window, since a loss such as Dice over a batch would depend on which windows share it.
        losses = torch.stack([loss(one[None], truth[None]) for one, truth in zip(logits, labels, strict=True)])
        (gradient,) = torch.autograd.grad(losses.sum(), windows)
        return gradient, losses.detach(), logits.detach()

    with Supply(plan, volume, device) as supply:
        for corners, (gradient, losses, logits) in batch.map(
            network, plan.window, plan.corners, differentiated, gradient=True
        ):
            plan.add(total, corners, gradient)
            value += float(losses.double().sum())
            if fused is not None:
                fused.add(corners, logits)
    for rows, covering in plan.covered_slabs(torch.ones(plan.window).to(volume)):
        total[..., rows, :, :].div_(covering.clamp_min_(1))
    return value / max(1, len(plan.corners)), total


def fused_gradient(
    plan: WindowPlan,
    volume: Tensor,
    label: Tensor,
    network: Predictor,
    loss: Loss,
    batch: WindowBatch,
    *,
    fusion: Fusion,
    attacked: WindowPlan,
    share: float | None = None,
) -> tuple[float, Tensor]:
    """Differentiate a loss of the fused prediction exactly, in two passes with one window batch's graph.

    Pass 1 fuses without a graph and takes G = dL/dF; pass 2 adds, window by window, the vector-Jacobian product
    with the cotangent (w_k / S) G. Of the first windows, as far as half of that graph's memory goes, pass 1 keeps
    lean graphs, and pass 2 runs backward only; they count as windows of both passes all the same. Probabilities are
    fused as logarithms, so that a class keeps its gradient where all its probabilities underflow.

    Parameters
    ----------
    plan : WindowPlan
        All windows of the prediction.
    volume, network, loss, batch
        As for :func:`window_mean_gradient`.
    label : Tensor of int, shape of the volume without padding
        Class of each voxel.
    fusion : Fusion
        How the windows are combined; a vote is differentiated as the mean of probabilities.
    attacked : WindowPlan
        The windows whose share of the gradient is computed; ``plan`` for the exact gradient.
    share : float, optional
        Only the fewest of them that hold this share of the objective's slope.

    Returns
    -------
    (float, Tensor)
        Loss of the fused prediction, and its gradient, padded shape.
    """
    fusion = fusion.differentiable
    weights = fusion.weights(plan, volume)
    coverage = plan.coverage(weights)
    graphs = KeptGraphs(_kept_bytes(network, plan, batch) if attacked is plan and share is None else 0)
    fused = fuse_logits(plan, volume, network, fusion, batch, graphs)
    leaf = fused.detach().requires_grad_(True)
    value = loss(leaf[(slice(None), *plan.inner)][None], label[None].long())
    (cotangent,) = torch.autograd.grad(value, leaf)
    if share is not None:
        attacked = windows_with_share(attacked, influence(fusion, fused, cotangent), weights, coverage, share)
    total = torch.zeros_like(volume)
    device = device_of(network)

    def slope(corners: Sequence[Corner], output: Tensor | None) -> Tensor:
        there, over, steepness = (plan.gather(one, corners).to(device) for one in (fused, coverage, cotangent))
        # Of fused logits, the share does not depend on the output, which no graph holds then.
        return steepness * fusion.share(there if output is None else output, there, weights.to(device), over[:, None])

    def pulled_back(corners: Sequence[Corner]) -> Tensor:
        windows = supply.take(corners).requires_grad_(True)
        # A whole graph would be a little faster, and the peak of memory of all but the smallest volumes.
        with lean_graphs():
            output = fusion.log_output(window_logits(network, windows, dtype=volume.dtype))
        (gradient,) = torch.autograd.grad(output, windows, slope(corners, output.detach()))
        return gradient

    done = 0
    for corners, gradient in graphs.pull_back(slope):
        plan.add(total, corners, gradient)
        record_windows(len(corners), gradient=True)
        done += len(corners)
    rest = WindowPlan(attacked.shape, attacked.window, attacked.corners[done:])
    with Supply(rest, volume, device) as supply:
        for corners, gradient in batch.map(network, plan.window, rest.corners, pulled_back, gradient=True):
            plan.add(total, corners, gradient)
    return float(value.detach()), total


def _kept_bytes(network: Predictor, plan: WindowPlan, batch: WindowBatch) -> int:
    return batch.known(network, plan.window) * batch.graph_bytes(network, plan.window) // SHARE
