# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import pytest
import torch
from torch import nn

MakeNet = Callable[[int, torch.dtype], nn.Module]


@pytest.fixture
def make_net() -> MakeNet:
    """Small convolutional net whose logits depend on context, so that windows disagree where they overlap."""

    def build(classes: int = 2, dtype: torch.dtype = torch.float64) -> nn.Module:
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Softplus(), nn.Conv3d(4, classes, 3, padding=1)
        )
        with torch.no_grad():
            net[1].running_mean.uniform_(-0.5, 0.5)
            net[1].running_var.uniform_(0.5, 2)
            net[3].weight.mul_(4)
        return net.to(dtype).eval()

    return build
