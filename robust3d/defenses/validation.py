# SPDX-License-Identifier: Apache-2.0
"""Validation of a stage on fixed windows of validation cases, clean and under a stronger adversary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robust3d.defenses.adversary import Adversary
from robust3d.defenses.ascent import perturb
from robust3d.defenses.batch import Batch
from robust3d.defenses.sampling import WindowSampler
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
    adversary: Adversary | None,
    valid: tuple[float, float],
    device: torch.device,
) -> Validation:
    """Validate a frozen eval-mode network on ``sampler.stage.validation_windows`` fixed windows.

    Every adversary is validated by PGD from a uniform start at its full epsilon, so that they compare; clean only where
    that is 0.
    """
    attacker = adversary if adversary is not None and adversary.epsilon > 0 else None
    clean, robust = Counts(0, 0, 0, 0), Counts(0, 0, 0, 0)
    size = sampler.stage.batch
    for number in range(-(-sampler.stage.validation_windows // size)):
        batch = sampler.draw(size, _KEY, number, augment=False).to(device)
        clean += _pooled(network, batch, batch.image)
        if attacker is not None:
            generator = torch.Generator().manual_seed(_KEY + number)
            image = perturb(
                network,
                batch,
                attacker.threat(valid),
                steps=attacker.validation_steps,
                step_size=attacker.validation_step_size,
                generator=generator,
            )
            robust += _pooled(network, batch, image)
    return Validation(clean.dsc, robust.dsc if attacker is not None else None)


@torch.no_grad()
def _pooled(network: nn.Module, batch: Batch, image: Tensor) -> Counts:
    predicted = network(batch.normalised(image)).argmax(dim=1)
    foreground = (predicted > 0).cpu().numpy()
    return count(foreground, (batch.label > 0).cpu().numpy())
