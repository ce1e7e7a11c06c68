# SPDX-License-Identifier: Apache-2.0
"""Frozen convolution with the ReLU after it as one step: one pass over memory less, and a graph that can be lean."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from robust3d.networks.lean import is_lean, packed_signs, unpacked_signs

_FUSED_TYPES = (torch.float32, torch.bfloat16)
"""What oneDNN's convolution with a ReLU inside computes here."""


class RectifiedConv3d(nn.Module):
    """ReLU of a frozen convolution, or of a transposed one.

    Parameters
    ----------
    convolution : nn.Conv3d or nn.ConvTranspose3d
        One for which :func:`is_plain` is true; its weights are shared.
    """

    def __init__(self, convolution: nn.Conv3d | nn.ConvTranspose3d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias
        self.settings = (
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            isinstance(convolution, nn.ConvTranspose3d),
            convolution.output_padding,
            convolution.groups,
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, in, d, h, w)`` to ``(B, out, ...)``."""
        if self.weight.requires_grad and torch.is_grad_enabled():
            trained: Tensor = torch.ops.aten.convolution(features, self.weight, self.bias, *self.settings).relu()
            return trained
        weight, bias = self.weight, self.bias
        kind = features.device.type
        if torch.is_autocast_enabled(kind):
            # The fused operation is none that autocast knows.
            dtype = torch.get_autocast_dtype(kind)
            features, weight, bias = features.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        lean = is_lean()
        rectified: Tensor = _Rectified.apply(  # type: ignore[no-untyped-call]
            features, weight, bias, self.settings, lean
        )
        return rectified


def is_plain(layer: nn.Module) -> TypeGuard[nn.Conv3d | nn.ConvTranspose3d]:
    """Return whether a layer is a convolution, transposed or not, padded by zeros as numbers say."""
    if type(layer) is nn.ConvTranspose3d:
        return True
    return type(layer) is nn.Conv3d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, settings: tuple[Any, ...], lean: bool
    ) -> Tensor:
        result = _rectified(features, weight, bias, settings)
        if ctx.needs_input_grad[0]:
            ctx.settings, ctx.lean = settings, lean
            ctx.inputs, ctx.outputs = (features.shape, features.stride()), (result.shape, result.stride())
            ctx.save_for_backward(packed_signs(result) if lean else result, weight)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kept, weight = ctx.saved_tensors
        if ctx.lean:
            shape, steps = ctx.outputs
            kept = unpacked_signs(kept, shape, steps, gradient.dtype)
        sloped = torch.ops.aten.threshold_backward(gradient, kept, 0)
        # Of the input, the derivative takes shape and layout, no value.
        features = torch.empty_strided(*ctx.inputs, dtype=gradient.dtype, device=gradient.device)
        result = torch.ops.aten.convolution_backward(
            sloped, features, weight, None, *ctx.settings, [True, False, False]
        )
        return result[0], None, None, None, None


def _rectified(features: Tensor, weight: Tensor, bias: Tensor | None, settings: tuple[Any, ...]) -> Tensor:
    result: Tensor
    if features.device.type != "cpu" or features.dtype not in _FUSED_TYPES or not torch.backends.mkldnn.is_available():
        result = torch.ops.aten.convolution(features, weight, bias, *settings).relu_()
        return result
    stride, padding, dilation, transposed, output_padding, groups = settings
    end: tuple[Any, ...] = (stride, dilation, groups, "relu", [], "")
    if transposed:
        operation = torch.ops.mkldnn._convolution_transpose_pointwise
        result = operation(features, weight, bias, padding, output_padding, *end)
    else:
        result = torch.ops.mkldnn._convolution_pointwise(features, weight, bias, padding, *end)
    return result
