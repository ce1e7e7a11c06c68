# SPDX-License-Identifier: Apache-2.0
"""Random numbers of one training iteration, the same for a window in however many processes its batch is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robust3d.threat.model import ThreatModel


@dataclass(frozen=True)
class Draws:
    """Draws for the windows of one process out of those of all.

    Parameters
    ----------
    generator : torch.Generator
        CPU generator in the same state in all processes, so that every device starts alike.
    rank, count : int
        Which part of equally many windows is this process's.
    """

    generator: torch.Generator
    rank: int = 0
    count: int = 1

    def ball(self, threat: ThreatModel, image: Tensor) -> Tensor:
        """Return a draw from the ball around zero, shape and unit of ``image`` ``(B, 1, w, w, w)``."""
        return self._part(threat.noise(self._whole(image), self.generator), image)

    def normal(self, image: Tensor) -> Tensor:
        """Return standard normal numbers, shape of ``image`` ``(B, 1, w, w, w)``."""
        return self._part(torch.randn(self._whole(image).shape, generator=self.generator), image)

    def _whole(self, image: Tensor) -> Tensor:
        """Return a tensor of the shape of all processes' windows, in the memory of one."""
        return image[:1].cpu().expand(self.count * len(image), *image.shape[1:])

    def _part(self, drawn: Tensor, image: Tensor) -> Tensor:
        return drawn[self.rank * len(image) : (self.rank + 1) * len(image)].to(image)
