# SPDX-License-Identifier: Apache-2.0
"""Building blocks that the compared networks share."""

from __future__ import annotations

from torch import nn


def conv_bn_relu(channels_in: int, channels_out: int) -> nn.Sequential:
    """3x3x3 convolution, batch normalisation, ReLU; keeps the spatial size."""
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, kernel_size=3, padding=1),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


def deconv_bn_relu(channels_in: int, channels_out: int) -> nn.Sequential:
    """4x4x4 transposed convolution of stride 2, batch normalisation, ReLU; doubles the spatial size."""
    return nn.Sequential(
        nn.ConvTranspose3d(channels_in, channels_out, kernel_size=4, stride=2, padding=1),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


def initialise_kaiming(module: nn.Module) -> None:
    """Kaiming normal weights (fan in) and zero biases for every convolution of ``module``."""
    for part in module.modules():
        if isinstance(part, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
