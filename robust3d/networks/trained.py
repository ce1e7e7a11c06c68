# SPDX-License-Identifier: Apache-2.0
"""Layers of a network in training, run in another way where a CPU has only slow kernels for them; the same sums."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, conv_transpose3d, pad


def cheaper_layers(network: nn.Module) -> nn.Module:
    """Let the layers of ``network`` train faster on a CPU, in place; weights and results stay, up to rounding.

    - In mixed precision a first layer, 3x3x3 on one input channel, reads three channels instead, the voxel and its two
      neighbours along the last axis, with kernels of 3x3x1. With one channel the gradient of its weights takes longer
      than a whole layer behind it.
    - The gradient of the bias of a transposed convolution is summed by itself; as a part of the convolution's it costs
      more than the two others. Derivatives are those of backward passes, of any order; there is no forward mode.
    - A maximum is taken in the type of the features, where mixed precision would convert them to float32 and the
      gradient back; it is one of them either way.

    Layers of classes of their own stay as they are.
    """
    for module in network.modules():
        if _gains(module):
            module.__class__ = _CHEAPER[type(module)]
    return network


def plain_layers(network: nn.Module) -> nn.Module:
    """Undo :func:`cheaper_layers`, in place."""
    for module in network.modules():
        module.__class__ = _PLAIN.get(type(module), type(module))
    return network


class _FirstConv3d(nn.Conv3d):
    def forward(self, input: Tensor) -> Tensor:
        if not _is_mixed(input) or input.ndim != 5 or input.requires_grad or not self.weight.requires_grad:
            return super().forward(input)
        # In the type that it is computed in before there are three times as many.
        padded = pad(input.to(torch.get_autocast_dtype("cpu")), (1, 1))
        neighbours = padded[:, 0].unfold(3, 3, 1).movedim(-1, 1)
        kernels = self.weight[:, 0].movedim(-1, 1).unsqueeze(-1)
        layout = torch.channels_last_3d
        neighbours, kernels = neighbours.contiguous(memory_format=layout), kernels.contiguous(memory_format=layout)
        return conv3d(neighbours, kernels, self.bias, padding=(1, 1, 0))


class _ConvTranspose3d(nn.ConvTranspose3d):
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        bias = self.bias
        if bias is None or not bias.requires_grad or output_size is not None or input.device.type != "cpu":
            return super().forward(input, output_size)
        settings: tuple[Any, ...] = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        result: Tensor = _SummedBias.apply(  # type: ignore[no-untyped-call]
            conv_transpose3d(input, self.weight, bias.detach(), *settings), bias
        )
        return result


class _MaxPool3d(nn.MaxPool3d):
    def forward(self, input: Tensor) -> Any:
        if not _is_mixed(input):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input)


_CHEAPER: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv3d: _FirstConv3d,
    nn.ConvTranspose3d: _ConvTranspose3d,
    nn.MaxPool3d: _MaxPool3d,
}
_PLAIN = {cheaper: plain for plain, cheaper in _CHEAPER.items()}


def _gains(layer: nn.Module) -> bool:
    if type(layer) is nn.Conv3d:
        settings = (layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode)
        plain = settings == ((1, 1, 1), (1, 1, 1), (1, 1, 1), 1, "zeros")
        return plain and tuple(layer.weight.shape[1:]) == (1, 3, 3, 3)
    if type(layer) is nn.ConvTranspose3d:
        return layer.bias is not None
    return type(layer) is nn.MaxPool3d


def _is_mixed(features: Tensor) -> bool:
    # Mixed precision leaves float64 as it is.
    return features.device.type == "cpu" and features.dtype != torch.float64 and torch.is_autocast_enabled("cpu")


class _SummedBias(torch.autograd.Function):
    """Hands on features that hold a bias already, for its gradient."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, bias: Tensor) -> Tensor:
        ctx.dtype = bias.dtype
        # Not a view, which no layer may change in place.
        ctx.mark_dirty(features)
        return features

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        axes = [axis for axis in range(gradient.ndim) if axis != gradient.ndim - 4]
        return gradient, gradient.sum(axes).to(ctx.dtype)
