# SPDX-License-Identifier: Apache-2.0
"""VoxResNet: pre-activated residual encoder, classified at four scales (Chen et al., arXiv 1608.05895, Fig. 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robust3d.networks.blocks import PreActivated, bn_relu_conv, initialise_kaiming


class VoxResNet(nn.Module):
    """VoxResNet: the logits are the sum of the four classifiers C1 to C4, each of which has a loss of its own.

    All convolutions of the encoder are 3x3x3. Each classifier is one transposed convolution to the
    classes whose kernel is twice its stride, so that neighbouring steps overlap (3x3x3 at full resolution).

    Parameters
    ----------
    classes : int
        Output channels K, background included.
    width : int
        Channels at full resolution; there are twice as many below. The paper's is 32.
    """

    stride = 8
    """Window edges must be multiples of this many voxels (three strided convolutions by two)."""

    auxiliary_heads = 4
    """Classifiers with a loss beside that of their sum; all take part in the prediction."""

    def __init__(self, *, classes: int = 2, width: int = 32) -> None:
        super().__init__()
        wide = 2 * width
        self.conv1a = nn.Conv3d(1, width, kernel_size=3, padding=1)
        self.conv1b = bn_relu_conv(width, width)
        self.conv1c = bn_relu_conv(width, wide, stride=2)
        self.voxres23 = nn.Sequential(PreActivated(wide), PreActivated(wide))
        self.conv4 = bn_relu_conv(wide, wide, stride=2)
        self.voxres56 = nn.Sequential(PreActivated(wide), PreActivated(wide))
        self.conv7 = bn_relu_conv(wide, wide, stride=2)
        self.voxres89 = nn.Sequential(PreActivated(wide), PreActivated(wide))
        self.classify1 = nn.ConvTranspose3d(width, classes, kernel_size=3, padding=1)
        self.classify2 = nn.ConvTranspose3d(wide, classes, kernel_size=4, stride=2, padding=1)
        self.classify3 = nn.ConvTranspose3d(wide, classes, kernel_size=8, stride=4, padding=2)
        self.classify4 = nn.ConvTranspose3d(wide, classes, kernel_size=16, stride=8, padding=4)
        initialise_kaiming(self)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the logits ``(B, K, d, h, w)`` of windows ``(B, 1, d, h, w)``."""
        return self.forward_supervised(windows)[0]

    def forward_supervised(self, windows: Tensor) -> list[Tensor]:
        """Return the sum of the classifiers' logits, then those of C1 to C4."""
        level1 = self.conv1b(self.conv1a(windows))
        level2 = self.voxres23(self.conv1c(level1))
        level3 = self.voxres56(self.conv4(level2))
        level4 = self.voxres89(self.conv7(level3))
        scores = [self.classify1(level1), self.classify2(level2), self.classify3(level3), self.classify4(level4)]
        return [torch.stack(scores).sum(dim=0), *scores]
