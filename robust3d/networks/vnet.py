# SPDX-License-Identifier: Apache-2.0
"""V-Net: residual stages of 5x5x5 convolutions, down- and up-convolutions (Milletari et al., arXiv 1606.04797)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robust3d.networks.blocks import initialise_kaiming


class VNet(nn.Module):
    """V-Net with PReLU and, as in the paper, without batch normalisation.

    Parameters
    ----------
    classes : int
        Output channels K, background included.
    width : int
        Channels of the first stage; the stages below have 2, 4, 8 and 16 times as many. The paper's is 16.
    """

    stride = 16
    """Window edges must be multiples of this many voxels (four down-convolutions by two)."""

    loss = "dsc"
    """The paper's loss, soft Dice."""

    def __init__(self, *, classes: int = 2, width: int = 16) -> None:
        super().__init__()
        one, two, three, four, five = width, 2 * width, 4 * width, 8 * width, 16 * width
        self.left1 = Stage(1, one, convolutions=1)
        self.down1 = _resample(nn.Conv3d, one, two)
        self.left2 = Stage(two, two, convolutions=2)
        self.down2 = _resample(nn.Conv3d, two, three)
        self.left3 = Stage(three, three, convolutions=3)
        self.down3 = _resample(nn.Conv3d, three, four)
        self.left4 = Stage(four, four, convolutions=3)
        self.down4 = _resample(nn.Conv3d, four, five)
        self.bottom = Stage(five, five, convolutions=3)
        # Each up-convolution brings as many channels as the encoder's features that it is concatenated with.
        self.up4 = _resample(nn.ConvTranspose3d, five, four)
        self.right4 = Stage(five, five, convolutions=3)
        self.up3 = _resample(nn.ConvTranspose3d, five, three)
        self.right3 = Stage(four, four, convolutions=3)
        self.up2 = _resample(nn.ConvTranspose3d, four, two)
        self.right2 = Stage(three, three, convolutions=2)
        self.up1 = _resample(nn.ConvTranspose3d, three, one)
        self.right1 = Stage(two, two, convolutions=1)
        self.head = nn.Conv3d(two, classes, kernel_size=1)
        initialise_kaiming(self)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the logits ``(B, K, d, h, w)`` of windows ``(B, 1, d, h, w)``."""
        level1 = self.left1(windows)
        level2 = self.left2(self.down1(level1))
        level3 = self.left3(self.down2(level2))
        level4 = self.left4(self.down3(level3))
        right4 = self.right4(torch.cat([self.up4(self.bottom(self.down4(level4))), level4], dim=1))
        right3 = self.right3(torch.cat([self.up3(right4), level3], dim=1))
        right2 = self.right2(torch.cat([self.up2(right3), level2], dim=1))
        right1 = self.right1(torch.cat([self.up1(right2), level1], dim=1))
        logits: Tensor = self.head(right1)
        return logits


class Stage(nn.Module):
    """5x5x5 convolutions with PReLU; the stage's input is added to the last one before its PReLU.

    A single input channel is added to every channel.
    """

    def __init__(self, channels_in: int, channels: int, *, convolutions: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(convolutions):
            if number:
                layers.append(nn.PReLU(channels))
            layers.append(nn.Conv3d(channels if number else channels_in, channels, kernel_size=5, padding=2))
        self.convolve = nn.Sequential(*layers)
        self.activate = nn.PReLU(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, in, d, h, w)`` to ``(B, C, d, h, w)``."""
        activated: Tensor = self.activate(self.convolve(features) + features)
        return activated


def _resample(kind: type[nn.Conv3d] | type[nn.ConvTranspose3d], channels_in: int, channels_out: int) -> nn.Sequential:
    """2x2x2 convolution of stride 2, or its transpose, with PReLU: halves or doubles the spatial size."""
    return nn.Sequential(kind(channels_in, channels_out, kernel_size=2, stride=2), nn.PReLU(channels_out))
