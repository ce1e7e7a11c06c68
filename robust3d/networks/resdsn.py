# SPDX-License-Identifier: Apache-2.0
"""ResDSN: 3D encoder-decoder with long residual sums and deep supervision (arXiv 2010.16074, Fig. 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robust3d.networks.auxiliary import AuxiliaryHead
from robust3d.networks.blocks import conv_bn_relu, deconv_bn_relu, initialise_kaiming


class ResDSN(nn.Module):
    """ResDSN and, by its flags, the ablations of Table 1.

    ``FResDSN``: ``short_residual=True``; ``SResDSN``: ``short_residual=True, long_residual=False``;
    ``DSN``: ``long_residual=False``; ``Res``: ``deep_supervision=False``.

    Parameters
    ----------
    classes : int
        Output channels K, background included.
    width : int
        Channels of the first level; the levels below have 2, 4 and 8 times as many. The paper's is 32.
    short_residual : bool
        Sum over each block of two convolutions, through a 1x1x1 projection where the widths differ.
    long_residual : bool
        Sum of the encoder's features into the decoder at the same resolution.
    deep_supervision : bool
        Two auxiliary heads, used in training only.
    """

    stride = 8
    """Window edges must be multiples of this many voxels (three poolings by two)."""

    auxiliary_heads = 2
    """Heads beside the main one with ``deep_supervision``."""

    def __init__(
        self,
        *,
        classes: int = 2,
        width: int = 32,
        short_residual: bool = False,
        long_residual: bool = True,
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        one, two, three, four = width, 2 * width, 4 * width, 8 * width
        self.long_residual = long_residual
        self.deep_supervision = deep_supervision
        self.pool = nn.MaxPool3d(kernel_size=2, stride=2)
        # The first level has a single convolution, so no short residual spans it.
        self.conv1 = conv_bn_relu(1, one)
        self.conv2 = ConvPair(one, two, short_residual=short_residual)
        self.conv3 = ConvPair(two, three, short_residual=short_residual)
        self.conv4 = ConvPair(three, four, short_residual=short_residual)
        self.deconv3 = deconv_bn_relu(four, three)
        self.res_conv3 = ConvPair(three, three, short_residual=short_residual)
        self.deconv2 = deconv_bn_relu(three, two)
        self.res_conv2 = ConvPair(two, two, short_residual=short_residual)
        self.deconv1 = deconv_bn_relu(two, one)
        self.res_conv1 = ConvPair(one, one, short_residual=short_residual)
        self.head = nn.Conv3d(one, classes, kernel_size=1)
        if deep_supervision:
            self.aux1 = AuxiliaryHead(two, one, classes=classes)
            self.aux2 = AuxiliaryHead(three, two, one, classes=classes)
        initialise_kaiming(self)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the main logits ``(B, K, d, h, w)`` of windows ``(B, 1, d, h, w)``."""
        level1, level2, level3 = self._encode(windows)
        return self._decode(level1, level2, level3)

    def forward_supervised(self, windows: Tensor) -> list[Tensor]:
        """Return the main logits and, with deep supervision, those of the auxiliary heads 1 and 2."""
        level1, level2, level3 = self._encode(windows)
        outputs = [self._decode(level1, level2, level3)]
        if self.deep_supervision:
            outputs += [self.aux1(level2), self.aux2(level3)]
        return outputs

    def _encode(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        level1 = self.conv1(windows)
        level2 = self.conv2(self.pool(level1))
        level3 = self.conv3(self.pool(level2))
        return level1, level2, level3

    def _decode(self, level1: Tensor, level2: Tensor, level3: Tensor) -> Tensor:
        up3 = self._join(self.deconv3(self.conv4(self.pool(level3))), level3)
        up2 = self._join(self.deconv2(self.res_conv3(up3)), level2)
        up1 = self._join(self.deconv1(self.res_conv2(up2)), level1)
        logits: Tensor = self.head(self.res_conv1(up1))
        return logits

    def _join(self, decoded: Tensor, encoded: Tensor) -> Tensor:
        return decoded + encoded if self.long_residual else decoded


class ConvPair(nn.Module):
    """Two convolutions of 3x3x3, optionally with the sum of their input (short residual connection)."""

    def __init__(self, channels_in: int, channels_out: int, *, short_residual: bool) -> None:
        super().__init__()
        self.first = conv_bn_relu(channels_in, channels_out)
        self.second = conv_bn_relu(channels_out, channels_out)
        self.short_residual = short_residual
        if short_residual:
            same = channels_in == channels_out
            self.project = nn.Identity() if same else nn.Conv3d(channels_in, channels_out, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, in, d, h, w)`` to ``(B, out, d, h, w)``."""
        convolved: Tensor = self.second(self.first(features))
        return convolved + self.project(features) if self.short_residual else convolved


def count_parameters(module: torch.nn.Module, *, auxiliary: bool = True) -> int:
    """Count trainable parameters, with or without those of auxiliary heads (names that start with ``aux``)."""
    return sum(p.numel() for name, p in module.named_parameters() if auxiliary or not name.startswith("aux"))
