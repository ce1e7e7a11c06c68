# SPDX-License-Identifier: Apache-2.0
"""Layers of a training step, rewritten where a CPU has only slow kernels for them; the same sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv3d, conv_transpose3d, max_pool3d, pad
from torch.overrides import TorchFunctionMode


class RewrittenLayers(TorchFunctionMode):
    """A context in which any network trains faster on a CPU; elsewhere and for other layers it changes nothing.

    - The first layer, 3x3x3 on one input channel, reads three channels instead, the voxel and its two neighbours along
      the last axis, with kernels of 3x3x1. With one channel the gradient of its weights takes longer than a whole
      layer behind it.
    - The gradient of the bias of a transposed convolution is summed by itself; as a part of the convolution's it costs
      more than the two others.
    - A maximum is taken in the type of the features, where mixed precision would convert them to float32 and the
      gradient back; it is one of them either way.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func``, or what is in its place; torch calls it for every function while the context is entered."""
        options = kwargs or {}
        if func is conv3d and not options and len(args) == 7 and _is_first(*args):
            return _first(*args)
        if func is conv_transpose3d and not options and len(args) == 8 and _has_trained_bias(*args):
            return _with_summed_bias(*args)
        if func in (max_pool3d, torch.max_pool3d) and args[0].device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                return func(*args, **options)
        return func(*args, **options)


def _is_first(
    image: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> bool:
    settings = (tuple(weight.shape[1:]), stride, padding, dilation, groups)
    plain = settings == ((1, 3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1) and image.ndim == 5
    return plain and image.device.type == "cpu" and weight.requires_grad and not image.requires_grad


def _first(image: Tensor, weight: Tensor, bias: Tensor | None, *_: Any) -> Tensor:
    kind = image.device.type
    if torch.is_autocast_enabled(kind):
        # Before there are three times as many.
        image = image.to(torch.get_autocast_dtype(kind))
    neighbours = pad(image, (1, 1))[:, 0].unfold(3, 3, 1).movedim(-1, 1)
    kernels = weight[:, 0].movedim(-1, 1).unsqueeze(-1)
    layout = torch.channels_last_3d
    neighbours, kernels = neighbours.contiguous(memory_format=layout), kernels.contiguous(memory_format=layout)
    return conv3d(neighbours, kernels, bias, padding=(1, 1, 0))


def _has_trained_bias(features: Tensor, weight: Tensor, bias: Tensor | None, *_: Any) -> bool:
    return bias is not None and bias.requires_grad and features.ndim == 5 and features.device.type == "cpu"


def _with_summed_bias(features: Tensor, weight: Tensor, bias: Tensor, *settings: Any) -> Tensor:
    result: Tensor = _SummedBias.apply(  # type: ignore[no-untyped-call]
        conv_transpose3d(features, weight, bias.detach(), *settings), bias
    )
    return result


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
        return gradient, gradient.sum((0, 2, 3, 4)).to(ctx.dtype)
