# SPDX-License-Identifier: Apache-2.0
"""3D U-Net: encoder-decoder with concatenated encoder features (Cicek et al., arXiv 1606.06650, Fig. 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robust3d.networks.blocks import conv_bn_relu, initialise_kaiming


class UNet3D(nn.Module):
    """3D U-Net with padded convolutions, so that the logits cover the whole window; the paper's are not padded.

    Parameters
    ----------
    classes : int
        Output channels K, background included.
    width : int
        Channels after the first convolution; they double before each pooling. The paper's is 32.
    """

    stride = 8
    """Window edges must be multiples of this many voxels (three poolings by two)."""

    def __init__(self, *, classes: int = 2, width: int = 32) -> None:
        super().__init__()
        two, four, eight, sixteen = 2 * width, 4 * width, 8 * width, 16 * width
        self.pool = nn.MaxPool3d(kernel_size=2, stride=2)
        self.down1 = _pair(1, width, two)
        self.down2 = _pair(two, two, four)
        self.down3 = _pair(four, four, eight)
        self.bottom = _pair(eight, eight, sixteen)
        self.upconv3 = _double(sixteen)
        self.up3 = _pair(sixteen + eight, eight, eight)
        self.upconv2 = _double(eight)
        self.up2 = _pair(eight + four, four, four)
        self.upconv1 = _double(four)
        self.up1 = _pair(four + two, two, two)
        self.head = nn.Conv3d(two, classes, kernel_size=1)
        initialise_kaiming(self)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the logits ``(B, K, d, h, w)`` of windows ``(B, 1, d, h, w)``."""
        level1 = self.down1(windows)
        level2 = self.down2(self.pool(level1))
        level3 = self.down3(self.pool(level2))
        up3 = self.up3(torch.cat([self.upconv3(self.bottom(self.pool(level3))), level3], dim=1))
        up2 = self.up2(torch.cat([self.upconv2(up3), level2], dim=1))
        up1 = self.up1(torch.cat([self.upconv1(up2), level1], dim=1))
        logits: Tensor = self.head(up1)
        return logits


def _pair(channels_in: int, between: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(conv_bn_relu(channels_in, between), conv_bn_relu(between, channels_out))


def _double(channels: int) -> nn.ConvTranspose3d:
    # Without bias, as in the paper's count of 19,069,955 parameters.
    return nn.ConvTranspose3d(channels, channels, kernel_size=2, stride=2, bias=False)
