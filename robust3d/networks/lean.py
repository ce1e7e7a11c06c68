# SPDX-License-Identifier: Apache-2.0
"""Graphs that keep signs and places in place of activations: a tenth or less of the memory, for the same gradient.

With frozen weights, the gradient of the input needs no more than which side of zero a ReLU's input lay on (a bit), and
which voxel of its block a maximum came from (a byte).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import max_pool3d

_LEAN: ContextVar[bool] = ContextVar("robust3d_lean", default=False)

_LARGEST_BLOCK = 8

_WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Whole numbers as long as a floating-point one; both are positive together."""


@contextmanager
def lean_graphs() -> Iterator[None]:
    """Let the layers of an inference copy that run in the block keep little; it costs some time."""
    token = _LEAN.set(True)
    try:
        yield
    finally:
        _LEAN.reset(token)


def is_lean() -> bool:
    """Return whether :func:`lean_graphs` is in force."""
    return _LEAN.get()


def packed_signs(features: Tensor) -> Tensor:
    """Return which values are positive, in the order of memory: one bit each on a CPU, one byte elsewhere.

    ``features`` is without gaps in memory and holds no NaN.
    """
    flat = _in_memory_order(features)
    if flat.device.type != "cpu":
        return flat > 0
    # NumPy compares whole numbers several times faster than torch does bfloat16.
    return torch.from_numpy(np.packbits(flat.view(_WHOLE[flat.element_size()]).numpy() > 0))


def unpacked_signs(signs: Tensor, shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return 1 where a value was positive and 0 elsewhere, in the shape and layout that :func:`packed_signs` saw."""
    if signs.device.type == "cpu":
        signs = torch.from_numpy(np.unpackbits(signs.numpy(), count=shape.numel()))
    return signs.to(dtype).as_strided(shape, stride)


class LeanMaxPool3d(nn.Module):
    """Maximum over blocks that do not overlap, which can keep a byte a block.

    Parameters
    ----------
    pool : nn.MaxPool3d
        One for which :func:`pools_blocks` is true.
    """

    def __init__(self, pool: nn.MaxPool3d) -> None:
        super().__init__()
        self.block = _triple(pool.kernel_size)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, d, h, w)`` to ``(B, C, d / k, h / k, w / k)``, rounded down."""
        if is_lean() and features.requires_grad and torch.is_grad_enabled():
            pooled: Tensor = _MaxPool.apply(features, self.block)  # type: ignore[no-untyped-call]
            return pooled
        return max_pool3d(features, self.block)


def pools_blocks(pool: nn.MaxPool3d) -> bool:
    """Return whether a pooling takes whole blocks side by side, of at most 8 voxels."""
    block = _triple(pool.kernel_size)
    plain = _triple(pool.padding) == (0, 0, 0) and _triple(pool.dilation) == (1, 1, 1)
    small = block[0] * block[1] * block[2] <= _LARGEST_BLOCK
    return plain and small and _triple(pool.stride) == block and not pool.ceil_mode and not pool.return_indices


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, block: tuple[int, int, int]) -> Tensor:
        pooled, places = torch.ops.aten.max_pool3d_with_indices(features, block, block)
        within = places.sub_(_corners(features, block, places.shape)).to(torch.int32)
        ctx.save_for_backward(within.remainder_(_modulus(_offsets(features, block))).to(torch.uint8))
        ctx.block, ctx.inputs = block, (features.shape, features.stride())
        result: Tensor = pooled
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (within,) = ctx.saved_tensors
        features = torch.empty_strided(*ctx.inputs, dtype=gradient.dtype, device=gradient.device)
        offsets = _offsets(features, ctx.block)
        known = torch.zeros(256, dtype=torch.int64, device=gradient.device)
        known[offsets % _modulus(offsets)] = offsets
        flat = known.index_select(0, _in_memory_order(within).int())
        places = flat.as_strided(within.shape, within.stride()) + _corners(features, ctx.block, within.shape)
        step = (ctx.block, ctx.block, (0, 0, 0), (1, 1, 1), False)
        result: Tensor = torch.ops.aten.max_pool3d_with_indices_backward(gradient, features, *step, places)
        return result, None


def _offsets(features: Tensor, block: tuple[int, int, int]) -> Tensor:
    """Return the places of a block's voxels beside that of its first."""
    first, second, third = (torch.arange(edge, device=features.device) for edge in block)
    height, width = features.shape[3:]
    return ((first[:, None, None] * height + second[:, None]) * width + third).flatten()


def _modulus(offsets: Tensor) -> int:
    """Return the least number by which no two offsets leave the same remainder."""
    places = offsets.tolist()
    return next(
        number for number in range(len(places), max(places) + 2) if len({p % number for p in places}) == len(places)
    )


def _corners(features: Tensor, block: tuple[int, int, int], pooled: torch.Size) -> Tensor:
    """Return the place of the first voxel of each block ``(d, h, w)`` in a channel."""
    steps = (features.shape[3] * features.shape[4], features.shape[4], 1)
    first, second, third = (
        torch.arange(count, device=features.device) * edge * step
        for count, edge, step in zip(pooled[2:], block, steps, strict=True)
    )
    return first[:, None, None] + second[:, None] + third


def _in_memory_order(features: Tensor) -> Tensor:
    return features.as_strided((features.numel(),), (1,))


def _triple(value: int | tuple[int, ...]) -> tuple[int, int, int]:
    first, second, third = (value,) * 3 if isinstance(value, int) else value
    return first, second, third
