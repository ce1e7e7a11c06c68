# SPDX-License-Identifier: Apache-2.0
"""The loss gradient of a whole volume from one window batch at a time: window mean (the chapter's) and exact."""

from __future__ import annotations

import torch
from torch import Tensor

from robust3d.losses.registry import Loss
from robust3d.segment.fusion import Fusion, fuse_logits
from robust3d.segment.influence import influence, influential_windows
from robust3d.segment.network import Predictor, window_logits
from robust3d.segment.windows import WindowPlan


def window_mean_gradient(
    plan: WindowPlan, volume: Tensor, label: Tensor, network: Predictor, loss: Loss, batch: int
) -> tuple[float, Tensor]:
    """Sum the gradients of each window's own loss and divide by the number of windows over each voxel.

    Parameters
    ----------
    plan : WindowPlan
        Windows to attack; voxels that none of them covers get gradient 0.
    volume : Tensor, padded shape
        Normalised and padded volume.
    label : Tensor of int64, padded shape
        Class of each voxel; 0 in the padding.
    network : callable
        Window predictor, frozen and in eval mode.
    loss : callable
        Applied to each window alone.
    batch : int
        Windows a forward and backward pass.

    Returns
    -------
    (float, Tensor)
        Mean of the windows' losses, and the gradient, padded shape.
    """
    total = torch.zeros_like(volume)
    value = 0.0
    for corners in plan.batches(batch):
        windows = plan.gather(volume, corners).requires_grad_(True)
        logits = window_logits(network, windows, dtype=volume.dtype)
        labels = plan.gather(label, corners)
        # Per window, since a loss such as Dice over a batch would depend on which windows share it.
        losses = torch.stack([loss(one[None], truth[None]) for one, truth in zip(logits, labels, strict=True)])
        (gradient,) = torch.autograd.grad(losses.sum(), windows)
        plan.add(total, corners, gradient)
        value += float(losses.detach().double().sum())
    covering = plan.coverage(torch.ones(plan.window).to(volume))
    return value / max(1, len(plan.corners)), total.div_(covering.clamp_min_(1))


def fused_gradient(
    plan: WindowPlan,
    volume: Tensor,
    label: Tensor,
    network: Predictor,
    loss: Loss,
    batch: int,
    *,
    fusion: Fusion,
    attacked: WindowPlan,
    influential: bool = False,
) -> tuple[float, Tensor]:
    """Differentiate a loss of the fused prediction exactly, in two passes with one window batch's graph.

    Pass 1 fuses without a graph and takes G = dL/dF; pass 2 adds, window by window, the vector-Jacobian product
    with the cotangent (w_k / S) G. Probabilities are fused as logarithms, so that a class keeps its gradient where all
    its probabilities underflow.

    Parameters
    ----------
    plan : WindowPlan
        All windows of the prediction.
    volume, network, loss, batch
        As for :func:`window_mean_gradient`.
    label : Tensor of int64, shape of the volume without padding
        Class of each voxel.
    fusion : Fusion
        How the windows are combined; a vote is differentiated as the mean of probabilities.
    attacked : WindowPlan
        The windows whose share of the gradient is computed; ``plan`` for the exact gradient.
    influential : bool
        Whether only those of them are that hold nearly all of the objective's slope.

    Returns
    -------
    (float, Tensor)
        Loss of the fused prediction, and its gradient, padded shape.
    """
    fusion = fusion.differentiable
    weights = fusion.weights(plan, volume)
    coverage = plan.coverage(weights)
    fused = fuse_logits(plan, volume, network, fusion, batch)
    leaf = fused.detach().requires_grad_(True)
    value = loss(leaf[(slice(None), *plan.inner)][None], label[None])
    (cotangent,) = torch.autograd.grad(value, leaf)
    if influential:
        attacked = influential_windows(attacked, influence(fusion, fused, cotangent), weights, coverage)
    total = torch.zeros_like(volume)
    for corners in attacked.batches(batch):
        windows = plan.gather(volume, corners).requires_grad_(True)
        output = fusion.log_output(window_logits(network, windows, dtype=volume.dtype))
        share = fusion.share(
            output.detach(), plan.gather(fused, corners), weights, plan.gather(coverage, corners)[:, None]
        )
        (gradient,) = torch.autograd.grad(output, windows, plan.gather(cotangent, corners) * share)
        plan.add(total, corners, gradient)
    return float(value.detach()), total
