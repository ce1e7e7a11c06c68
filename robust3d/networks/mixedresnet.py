# SPDX-License-Identifier: Apache-2.0
"""MixedResNet: long and short residual connections with deep supervision (Yu et al., AAAI 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from robust3d.networks.auxiliary import AuxiliaryHead
from robust3d.networks.blocks import PreActivated, conv_bn_relu, deconv_bn_relu, initialise_kaiming


class MixedResNet(nn.Module):
    """Encoder-decoder whose every level is a pre-activated residual block, with sums from encoder to decoder.

    After Yu et al., "Volumetric ConvNets with mixed residual connections for automated prostate segmentation from
    3D MR images". A reconstruction: widths and levels are those of ResDSN, so that the two compare. Unlike
    in FResDSN, the short sums are identities throughout (a convolution before each block sets its width), and the
    auxiliary heads stand on the decoder.

    Parameters
    ----------
    classes : int
        Output channels K, background included.
    width : int
        Channels of the first level; the levels below have 2, 4 and 8 times as many.
    deep_supervision : bool
        Two auxiliary heads, used in training only.
    """

    stride = 8
    """Window edges must be multiples of this many voxels (three poolings by two)."""

    auxiliary_heads = 2
    """Heads beside the main one with ``deep_supervision``."""

    def __init__(self, *, classes: int = 2, width: int = 32, deep_supervision: bool = True) -> None:
        super().__init__()
        one, two, three, four = width, 2 * width, 4 * width, 8 * width
        self.deep_supervision = deep_supervision
        self.pool = nn.MaxPool3d(kernel_size=2, stride=2)
        self.down1 = nn.Sequential(conv_bn_relu(1, one), PreActivated(one))
        self.down2 = nn.Sequential(conv_bn_relu(one, two), PreActivated(two))
        self.down3 = nn.Sequential(conv_bn_relu(two, three), PreActivated(three))
        self.bottom = nn.Sequential(conv_bn_relu(three, four), PreActivated(four))
        self.deconv3 = deconv_bn_relu(four, three)
        self.up3 = PreActivated(three)
        self.deconv2 = deconv_bn_relu(three, two)
        self.up2 = PreActivated(two)
        self.deconv1 = deconv_bn_relu(two, one)
        self.up1 = PreActivated(one)
        self.head = nn.Conv3d(one, classes, kernel_size=1)
        if deep_supervision:
            self.aux1 = AuxiliaryHead(two, one, classes=classes)
            self.aux2 = AuxiliaryHead(three, two, one, classes=classes)
        initialise_kaiming(self)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the main logits ``(B, K, d, h, w)`` of windows ``(B, 1, d, h, w)``."""
        logits: Tensor = self.head(self._decode(windows)[0])
        return logits

    def forward_supervised(self, windows: Tensor) -> list[Tensor]:
        """Return the main logits and, with deep supervision, those of the auxiliary heads 1 and 2."""
        up1, up2, up3 = self._decode(windows)
        outputs: list[Tensor] = [self.head(up1)]
        if self.deep_supervision:
            outputs += [self.aux1(up2), self.aux2(up3)]
        return outputs

    def _decode(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        level1 = self.down1(windows)
        level2 = self.down2(self.pool(level1))
        level3 = self.down3(self.pool(level2))
        up3 = self.up3(self.deconv3(self.bottom(self.pool(level3))) + level3)
        up2 = self.up2(self.deconv2(up3) + level2)
        up1 = self.up1(self.deconv1(up2) + level1)
        return up1, up2, up3
