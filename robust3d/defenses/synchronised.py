# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation by the statistics of the windows of all processes, as if one process held them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


class SynchronisedBatchNorm3d(nn.BatchNorm3d):
    """For devices without ``nn.SyncBatchNorm``, such as CPUs; every process must hold equally many windows."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(B, C, d, h, w)`` to the same shape; in training by mean and variance over all processes."""
        if not self.training:
            return super().forward(input)
        count = distributed.get_world_size()
        features = input.float()
        own_variance, own_mean = torch.var_mean(features, (0, 2, 3, 4), correction=0)
        # Both moments in one message; in float64 their difference loses nothing.
        moments = torch.stack([own_mean.double(), own_variance.double() + own_mean.double().square()])
        first, second = _sum_over_processes(moments) / count
        mean, variance = first.float(), (second - first.square()).float()
        self._remember(mean.detach(), variance.detach(), count * input.numel() // input.shape[1])
        normalised = (features - _spread(mean)) * _spread((variance + self.eps).rsqrt())
        if self.affine:
            normalised = normalised * _spread(self.weight) + _spread(self.bias)
        return normalised.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, voxels: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * voxels / (voxels - 1), share)


def synchronise_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """Replace all batch normalisation of ``network``, which keeps its weights and their names; return it."""
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return converted
    for name, child in network.named_children():
        if type(child) is nn.BatchNorm3d:
            synchronised = SynchronisedBatchNorm3d(
                child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
            )
            synchronised.load_state_dict(child.state_dict())
            setattr(network, name, synchronised)
        else:
            synchronise_batch_norm(child, device)
    return network


class _Sum(torch.autograd.Function):
    """Sum over processes; what each adds acts on the losses of all, so their gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _sum_over_processes(value: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total


def _spread(channels: Tensor) -> Tensor:
    return channels.view(1, -1, 1, 1, 1)
