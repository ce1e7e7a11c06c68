# SPDX-License-Identifier: Apache-2.0
"""Heads of deep supervision: features of a coarser level, doubled up to the size of the window, as logits."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d

_TAPS = (((0.0, 0, 0, 1), (0, 1, 0, 0), (0, 0, 0, 0)), ((0, 0, 0, 0), (0, 0, 1, 0), (1, 0, 0, 0)))
"""Which of a doubling's 4 taps reaches a voxel of parity p from the coarse voxel d - 1 places on, by [p][d]."""


class AuxiliaryHead(nn.Sequential):
    """4x4x4 transposed convolutions of stride 2, each to the next width, then 1x1x1 to the classes.

    The last two are one linear map, and are computed as such: their weights are multiplied instead of the features, so
    that none of the window's size are made.

    Parameters
    ----------
    *channels : int
        Width of the features and of each doubling; two or more.
    classes : int
        Output channels K.
    """

    def __init__(self, *channels: int, classes: int) -> None:
        super().__init__(
            *(
                nn.ConvTranspose3d(wide, narrow, kernel_size=4, stride=2, padding=1, bias=False)
                for wide, narrow in pairwise(channels)
            ),
            nn.Conv3d(channels[-1], classes, kernel_size=1),
        )
        self.register_buffer("taps", torch.tensor(_TAPS), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, channels[0], d, h, w)`` to logits ``(B, K, 2 ** n d, ...)`` with n doublings."""
        *doublings, last, head = cast(list[nn.ConvTranspose3d | nn.Conv3d], list(self.children()))
        for doubling in doublings:
            features = doubling(features)
        with torch.autocast(features.device.type, enabled=False):
            weight = torch.einsum("iotuv,ko->iktuv", last.weight, head.weight.flatten(1))
        return _double(features, weight, cast(Tensor, head.bias), cast(Tensor, self.taps))


def _double(features: Tensor, weight: Tensor, bias: Tensor, taps: Tensor) -> Tensor:
    """Return the transposed convolution of kernel 4, stride 2 and padding 1, ``weight`` of shape (in, K, 4, 4, 4).

    As a convolution of 3x3x3 on the coarse grid with a channel for each of the eight parities, which are then laid side
    by side: kernels for transposed convolutions to a few channels are slow.
    """
    classes = weight.shape[1]
    with torch.autocast(features.device.type, enabled=False):
        parities = torch.einsum("iktuv,adt,beu,cfv->abckidef", weight, taps, taps, taps)
        # Channels last, as the features.
        parities = parities.reshape(8 * classes, -1, 3, 3, 3).contiguous(memory_format=torch.channels_last_3d)
    coarse = conv3d(features, parities, bias.repeat(8), padding=1)
    batch, _, *size = coarse.shape
    sorted_by_voxel = coarse.view(batch, 2, 2, 2, classes, *size).permute(0, 4, 5, 1, 6, 2, 7, 3)
    return sorted_by_voxel.reshape(batch, classes, *(2 * length for length in size))
