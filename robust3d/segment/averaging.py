# SPDX-License-Identifier: Apache-2.0
"""Means inside the network, so that gradients pass through them: of mirrored windows, and of several networks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Mirrored(nn.Module):
    """The mean of a network's outputs for a window and all its mirror images, mirrored back.

    Parameters
    ----------
    network : nn.Module
        Its weights are shared.
    axes : sequence of int
        Spatial axes, 0 to 2, along which windows are mirrored; three of them make eight passes.
    """

    def __init__(self, network: nn.Module, axes: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self._flips = [
            [axis + 2 for axis in chosen]
            for number in range(len(axes) + 1)
            for chosen in itertools.combinations(sorted(axes), number)
        ]

    def forward(self, windows: Tensor) -> Tensor:
        """Map ``(B, 1, d, h, w)`` to the mean output of the same shape as one output."""
        total: Tensor = self.network(windows)
        for axes in self._flips[1:]:
            total = total + self.network(windows.flip(axes)).flip(axes)
        return total / len(self._flips)


class NetworkMean(nn.Module):
    """The mean of the outputs of several networks, such as the folds of a cross-validation.

    Parameters
    ----------
    networks : sequence of nn.Module
        All with outputs of the same shape.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, windows: Tensor) -> Tensor:
        """Map ``(B, 1, d, h, w)`` to the mean output."""
        return torch.stack([network(windows) for network in self.networks]).mean(dim=0)
