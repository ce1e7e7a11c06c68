# SPDX-License-Identifier: Apache-2.0
"""VAFT: training against lossy compression that is learnt to harm (Hanif et al., arXiv:2307.07269)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from robust3d.attacks.dct import BlockTransform
from robust3d.attacks.vafa import Codec, valid_ranges
from robust3d.defenses.adversary import Adversary, Step
from robust3d.losses.dice import soft_dice

_LEAST = 1.0
"""First and least value of the quantisation table, in grey levels of 255, as in the paper."""


class Vaft(Adversary):
    """Supervised losses of clean and compressed windows + the distance of their logits' spectra (Eq. 3 and 4).

    Each window has a quantisation table of its own, so that no window depends on those that share its batch. The
    distance is a mean over coefficients, where the paper's norm would grow with the window.
    """

    algorithm: Literal["vaft"]
    epsilon: NonNegativeFloat = 0.0
    """Of validation alone, as the compression has no bound; with 0 that is clean only."""
    steps: PositiveInt
    step_size: PositiveFloat
    """Of the table, in grey levels of 255, which the valid range is mapped to."""
    q_max: Annotated[float, Field(gt=_LEAST)]
    """Largest value of the table, in grey levels; the warm-up applies to its excess over 1."""
    block: Annotated[int, Field(ge=2)]
    """Edge of a block in voxels."""
    consistency: NonNegativeFloat = 1.0
    """Weight of the distance of the spectra."""

    @property
    def passes(self) -> float:
        """One a step and two of the update, on clean and compressed windows."""
        return self.steps + 2

    def attacked(self, step: Step) -> Tensor:
        """Return the windows after compression by the learnt tables."""
        network, batch = step.learner.frozen(), step.batch
        valid = valid_ranges(self.algorithm, step.threat, 1)[0]
        most = _LEAST + step.strength * (self.q_max - _LEAST)
        codecs = [Codec(window, valid, self.block) for window in batch.image[:, 0]]
        tables = [torch.full((self.block,) * 3, _LEAST).to(batch.image) for _ in codecs]
        decoded = [codec.decode(table) for codec, table in zip(codecs, tables, strict=True)]
        for _ in range(self.steps):
            image = torch.stack(decoded)[:, None].clamp(*valid).requires_grad_(True)
            with step.learner.autocast():
                logits = network(batch.normalised(image)).float()
            losses = [soft_dice(one[None], truth[None]) for one, truth in zip(logits, batch.label, strict=True)]
            (gradient,) = torch.autograd.grad(torch.stack(losses).sum(), image)
            slopes = map(Codec.table_gradient, codecs, tables, decoded, gradient[:, 0])
            tables = [
                (table + self.step_size * slope.sign()).clamp(_LEAST, most)
                for table, slope in zip(tables, slopes, strict=True)
            ]
            decoded = [codec.decode(table) for codec, table in zip(codecs, tables, strict=True)]
        return torch.stack(decoded)[:, None].clamp(*valid)

    def objectives(self, step: Step) -> Iterator[Tensor]:
        """Yield the sum of the three terms."""
        image = self.attacked(step)
        natural, clean = step.learner.supervised(step.batch, step.batch.image)
        compressed, attacked = step.learner.supervised(step.batch, image)
        yield natural + compressed + self.consistency * spectral_distance(clean, attacked, self.block)


def spectral_distance(first: Tensor, second: Tensor, block: int) -> Tensor:
    """Return the mean distance of the block cosine transforms of logits ``(B, K, w, w, w)``, as a scalar."""
    transform = BlockTransform(tuple(first.shape[2:]), block)
    difference = (first - second).flatten(0, 1)
    return torch.stack([transform.forward(one).abs().mean() for one in difference]).mean()
