# SPDX-License-Identifier: Apache-2.0
"""Building blocks that the compared networks share."""

from __future__ import annotations

from torch import Tensor, nn


def conv_bn_relu(channels_in: int, channels_out: int) -> nn.Sequential:
    """3x3x3 convolution, batch normalisation, ReLU; keeps the spatial size."""
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, kernel_size=3, padding=1),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


def bn_relu_conv(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Sequential:
    """Batch normalisation, ReLU, 3x3x3 convolution (He et al., arXiv 1603.05027); ``stride`` divides the size."""
    return nn.Sequential(
        nn.BatchNorm3d(channels_in),
        nn.ReLU(inplace=True),
        nn.Conv3d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1),
    )


def deconv_bn_relu(channels_in: int, channels_out: int) -> nn.Sequential:
    """4x4x4 transposed convolution of stride 2, batch normalisation, ReLU; doubles the spatial size."""
    return nn.Sequential(
        nn.ConvTranspose3d(channels_in, channels_out, kernel_size=4, stride=2, padding=1),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


class PreActivated(nn.Module):
    """Sum of the input and two pre-activated convolutions of it (He et al., arXiv 1603.05027)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolve = nn.Sequential(*bn_relu_conv(channels, channels), *bn_relu_conv(channels, channels))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, d, h, w)`` to the same shape."""
        convolved: Tensor = self.convolve(features)
        return features + convolved


def initialise_kaiming(module: nn.Module) -> None:
    """Kaiming normal weights (fan in) and zero biases for every convolution of ``module``."""
    for part in module.modules():
        if isinstance(part, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
