# SPDX-License-Identifier: Apache-2.0
"""Validation of a stage on fixed windows of validation cases, clean and under a stronger adversary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from robust3d.defenses.adversary import Adversary
from robust3d.defenses.ascent import ascend, perturb
from robust3d.defenses.batch import Batch
from robust3d.defenses.draws import Draws
from robust3d.defenses.processes import ALONE, Processes
from robust3d.defenses.sampling import WindowSampler
from robust3d.metrics.counts import Counts, count

_KEY = 715_517
"""Draws of validation windows and starts; apart from the seeds of training."""


@dataclass(frozen=True)
class Validation:
    """What the validation windows show, pooled over them.

    Parameters
    ----------
    clean_dsc : float
        DSC of the foreground, from 0 to 1.
    robust_dsc : float or None
        The same under PGD.
    fgsm_dsc : float or None
        The same under FGSM, where the adversary of training takes single steps.
    predicted_voxels, labelled_voxels : int
        Foreground of the clean prediction and of the label.
    warnings : tuple of str
        What is wrong with the run so far, a sentence each.
    """

    clean_dsc: float
    robust_dsc: float | None = None
    fgsm_dsc: float | None = None
    predicted_voxels: int = 0
    labelled_voxels: int = 0
    warnings: tuple[str, ...] = ()

    def entry(self, iteration: int) -> dict[str, float]:
        """Return the figures as an entry of the history."""
        figures = {name: value for name, value in asdict(self).items() if name != "warnings" and value is not None}
        return {"iteration": float(iteration)} | {name: float(value) for name, value in figures.items()}

    @property
    def score(self) -> float:
        """What chooses the best weights: robust DSC where there is an adversary, else clean DSC."""
        return self.clean_dsc if self.robust_dsc is None else self.robust_dsc


def validate(
    network: nn.Module,
    sampler: WindowSampler,
    adversary: Adversary | None,
    valid: tuple[float, float] | None,
    device: torch.device,
    processes: Processes = ALONE,
) -> Validation:
    """Validate a frozen eval-mode network on ``sampler.stage.validation_windows`` fixed windows.

    Every adversary is validated by PGD from a uniform start at its full epsilon, so that they compare; clean only where
    that is 0. FGSM joins in for adversaries of single steps, which can overfit to them. Processes share the windows as
    in training, of every batch or of every part of one that is accumulated, and all return the same.
    """
    attacker = adversary if adversary is not None and adversary.epsilon > 0 else None
    single = attacker is not None and attacker.single_step
    clean, robust, fgsm = (Counts(0, 0, 0, 0) for _ in range(3))
    for batch, draws in _batches(sampler, device, processes):
        clean += _pooled(network, batch, batch.image)
        if attacker is not None:
            image = perturb(
                network,
                batch,
                attacker.threat(valid),
                steps=attacker.validation_steps,
                step_size=attacker.validation_step_size,
                draws=draws,
            )
            robust += _pooled(network, batch, image)
            if single:
                threat = attacker.threat(valid)
                image = ascend(network, batch, threat, batch.image, steps=1, step_size=threat.epsilon)
                fgsm += _pooled(network, batch, image)
    clean, robust, fgsm = (_over_all(processes, counts) for counts in (clean, robust, fgsm))
    return Validation(
        clean_dsc=clean.dsc,
        robust_dsc=robust.dsc if attacker is not None else None,
        fgsm_dsc=fgsm.dsc if single else None,
        predicted_voxels=clean.tp + clean.fp,
        labelled_voxels=clean.tp + clean.fn,
    )


def _batches(sampler: WindowSampler, device: torch.device, processes: Processes) -> Iterator[tuple[Batch, Draws]]:
    """Yield this process's windows, as many at a time as in training, each with the draws of its adversary."""
    size, parts = sampler.stage.batch, sampler.stage.accumulate or 1
    mine = processes.windows(size, parts)
    for number in range(-(-sampler.stage.validation_windows // size)):
        batch = sampler.draw(size, _KEY, number, augment=False, only=mine)
        draws = Draws(torch.Generator().manual_seed(_KEY + number), processes.rank, processes.count)
        for part in batch.split(parts):
            yield part.to(device), draws


@torch.no_grad()
def _pooled(network: nn.Module, batch: Batch, image: Tensor) -> Counts:
    predicted = network(batch.normalised(image)).argmax(dim=1)
    foreground = (predicted > 0).cpu().numpy()
    return count(foreground, (batch.label > 0).cpu().numpy())


def _over_all(processes: Processes, counts: Counts) -> Counts:
    return Counts(*map(int, processes.total([counts.tp, counts.fp, counts.fn, counts.tn])))
