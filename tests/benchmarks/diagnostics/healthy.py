# SPDX-License-Identifier: Apache-2.0
"""A healthy tiny model: a blurred threshold, for which every property holds."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robust3d.segment.grid import overlap
from robust3d.segment.intensity import unit_window
from robust3d.segment.segmenter import Segmenter
from robust3d.threat.model import ThreatModel

THREAT = ThreatModel(epsilon=20, unit="HU", valid=(-100, 240))


class Blurred(nn.Module):
    """Foreground where a smoothed window is above its middle; ``before`` and ``after`` plant faults."""

    def __init__(self, before: Callable = lambda x: x, after: Callable = lambda z: z) -> None:
        super().__init__()
        self.blur = nn.Conv3d(1, 1, 3, padding=1, bias=False)
        nn.init.constant_(self.blur.weight, 1 / 27)
        self.before, self.after = before, after

    def forward(self, windows: Tensor) -> Tensor:
        margin = 4 * torch.tanh(4 * (self.blur(self.before(windows)) - 0.45))
        return self.after(torch.cat([-margin, margin], dim=1) / 2)


def segmenter(network: nn.Module, **options) -> Segmenter:
    given = {"window": (12, 10, 8), "grid": overlap(0.5), "intensity": unit_window(-100, 240)} | options
    return Segmenter.from_network(network, **given)
