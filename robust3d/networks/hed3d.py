# SPDX-License-Identifier: Apache-2.0
"""HED-3D: a VGG-like encoder whose side outputs are fused (Merkow et al., arXiv 1605.08401; Xie and Tu, 1504.06375)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose3d

from robust3d.networks.blocks import initialise_kaiming


class HED3D(nn.Module):
    """Holistically nested detector in 3D: side outputs at four scales, enlarged, concatenated and fused by 1x1x1.

    Layers, widths and average pooling are those of the encoder that the authors released; there is no batch
    normalisation. The fusion starts as the mean of the side outputs.

    Parameters
    ----------
    classes : int
        Output channels K, background included.
    width : int
        Channels of the first level; the levels below have 4, 8 and 16 times as many. The paper's is 32.
    """

    stride = 8
    """Window edges must be multiples of this many voxels (three poolings by two)."""

    auxiliary_heads = 4
    """Side outputs with a loss beside that of their fusion; all take part in the prediction."""

    def __init__(self, *, classes: int = 2, width: int = 32) -> None:
        super().__init__()
        channels = [width, 4 * width, 8 * width, 16 * width]
        convolutions = [2, 2, 3, 3]
        self.pool = nn.AvgPool3d(kernel_size=2, stride=2)
        self.levels = nn.ModuleList(map(_convolutions, [1, *channels], channels, convolutions))
        self.sides = nn.ModuleList(nn.Conv3d(one, classes, kernel_size=1) for one in channels)
        self.enlarge = nn.ModuleList([nn.Identity(), *(Enlarge(factor) for factor in (2, 4, 8))])
        self.fuse = nn.Conv3d(len(channels) * classes, classes, kernel_size=1)
        initialise_kaiming(self)
        with torch.no_grad():
            self.fuse.weight.copy_(torch.eye(classes).repeat(1, len(channels))[..., None, None, None] / len(channels))

    def forward(self, windows: Tensor) -> Tensor:
        """Return the fused logits ``(B, K, d, h, w)`` of windows ``(B, 1, d, h, w)``."""
        return self.forward_supervised(windows)[0]

    def forward_supervised(self, windows: Tensor) -> list[Tensor]:
        """Return the fused logits, then those of the side outputs from full resolution downwards."""
        features = windows
        scores: list[Tensor] = []
        for level, side, enlarge in zip(self.levels, self.sides, self.enlarge, strict=True):
            features = level(self.pool(features) if scores else features)
            scores.append(enlarge(side(features)))
        return [self.fuse(torch.cat(scores, dim=1)), *scores]


class Enlarge(nn.Module):
    """Transposed convolution with a fixed trilinear kernel, for each channel alone (Long et al., arXiv 1411.4038).

    It equals linear interpolation but at the border, where it fades to zero, and has reproducible gradients on a GPU.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        line = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
        self.kernel: Tensor
        self.register_buffer("kernel", torch.einsum("i,j,k->ijk", line, line, line), persistent=False)

    def forward(self, scores: Tensor) -> Tensor:
        """Map ``(B, K, d, h, w)`` to ``(B, K, factor d, factor h, factor w)``."""
        classes = scores.shape[1]
        kernel = self.kernel.expand(classes, 1, -1, -1, -1).to(scores.dtype)
        return conv_transpose3d(scores, kernel, stride=self.factor, padding=self.factor // 2, groups=classes)


def _convolutions(channels_in: int, channels: int, number: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for one in range(number):
        layers.append(nn.Conv3d(channels if one else channels_in, channels, kernel_size=3, padding=1))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
