# SPDX-License-Identifier: Apache-2.0
"""Validation of a stage on fixed windows of validation cases, clean and under a stronger adversary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robust3d.defenses.adversary import perturb
from robust3d.defenses.recipe import AdversarySettings
from robust3d.defenses.sampling import Batch, WindowSampler
from robust3d.metrics.counts import Counts, count

_KEY = 715_517
"""Draws of validation windows and starts; apart from the seeds of training."""


@dataclass(frozen=True)
class Validation:
    """DSC of the foreground pooled over the validation windows, from 0 to 1."""

    clean_dsc: float
    robust_dsc: float | None

    @property
    def score(self) -> float:
        """What chooses the best weights: robust DSC where there is an adversary, else clean DSC."""
        return self.clean_dsc if self.robust_dsc is None else self.robust_dsc


def validate(
    network: nn.Module,
    sampler: WindowSampler,
    adversary: AdversarySettings | None,
    valid: tuple[float, float],
    device: torch.device,
) -> Validation:
    """Validate a frozen eval-mode network on ``sampler.stage.validation_windows`` fixed windows.

    The adversary has twice the steps of training, so that training cannot just fit its own attack.
    """
    clean, robust = Counts(0, 0, 0, 0), Counts(0, 0, 0, 0)
    size = sampler.stage.batch
    for number in range(-(-sampler.stage.validation_windows // size)):
        batch = sampler.draw(size, _KEY, number, augment=False).to(device)
        clean += _pooled(network, batch, batch.image)
        if adversary is not None:
            generator = torch.Generator().manual_seed(_KEY + number)
            attacked = perturb(
                network,
                batch,
                adversary.threat(valid),
                steps=2 * adversary.steps,
                step_size=adversary.step_size,
                generator=generator,
            )
            robust += _pooled(network, batch, attacked)
    return Validation(clean.dsc, robust.dsc if adversary is not None else None)


@torch.no_grad()
def _pooled(network: nn.Module, batch: Batch, image: Tensor) -> Counts:
    predicted = network(batch.normalised(image)).argmax(dim=1)
    foreground = (predicted > 0).cpu().numpy()
    return count(foreground, (batch.label > 0).cpu().numpy())
