# SPDX-License-Identifier: Apache-2.0
"""VAFA: lossy compression whose quantisation table is learnt to harm (Hanif et al., arXiv:2307.07269)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from robust3d.attacks.attack import Adversarial, Attempt, spending
from robust3d.attacks.dct import BlockTransform
from robust3d.attacks.objective import GradientAttack, Search
from robust3d.attacks.unbounded import keep_range
from robust3d.foundation.errors import InputError
from robust3d.segment.network import window_shape
from robust3d.segment.pipeline import Mode, Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume

_GREYS = 255.0
"""Width of the scale on which the table is given; the valid range is mapped to 0 to 255."""


class Codec:
    """A clean volume as quantised block coefficients.

    Parameters
    ----------
    clean : Tensor, shape (D1, D2, D3)
        Within the valid range.
    valid : (float, float)
        Range that is mapped to 0 to 255, in the volume's unit.
    edge : int
        Edge of a block in voxels.
    """

    def __init__(self, clean: Tensor, valid: tuple[float, float], edge: int) -> None:
        self.low, high = valid
        self.grey = (high - self.low) / _GREYS
        self._valid = valid
        self._transform = BlockTransform(tuple(clean.shape), edge)
        self._spectrum = self._transform.forward((clean - self.low) / self.grey)

    def decode(self, table: Tensor) -> Tensor:
        """Return the volume after quantisation with ``table`` ``(edge, edge, edge)``, not yet clipped."""
        return self._transform.inverse((self._spectrum / table).round() * table) * self.grey + self.low

    def table_gradient(self, table: Tensor, decoded: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to the table.

        The rounding of u = DCT(x) / q is passed straight through, so that d(round(u) q)/dq = round(u) - u; the
        clipping of ``decoded`` to the valid range is not: a clipped voxel has no gradient.

        Parameters
        ----------
        table, decoded : Tensor
            A table and what :meth:`decode` gave for it.
        gradient : Tensor
            With respect to the clipped volume, per unit of the volume.
        """
        inside = (decoded >= self._valid[0]) & (decoded <= self._valid[1])
        scaled = self._spectrum / table
        coefficients = self._transform.adjoint(gradient * inside * self.grey)
        return (coefficients * (scaled.round() - scaled)).sum(0)


class ChannelCodec:
    """A clean volume of several channels as :class:`Codec` of each, and a table for each.

    Parameters
    ----------
    clean : Tensor, shape (C, D1, D2, D3)
        Within the valid ranges.
    spans : sequence of (float, float)
        Range of each channel.
    edge : int
        Edge of a block in voxels.
    """

    def __init__(self, clean: Tensor, spans: Sequence[tuple[float, float]], edge: int) -> None:
        self._codecs = [Codec(one, span, edge) for one, span in zip(clean, spans, strict=True)]

    def decode(self, table: Tensor) -> Tensor:
        """Return the volume after quantisation with tables ``(C, edge, edge, edge)``, not yet clipped."""
        return torch.stack([codec.decode(one) for codec, one in zip(self._codecs, table, strict=True)])

    def table_gradient(self, table: Tensor, decoded: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to the tables."""
        parts = zip(self._codecs, table, decoded, gradient, strict=True)
        return torch.stack([codec.table_gradient(*one) for codec, *one in parts])


class VAFA(GradientAttack):
    """Volumetric adversarial frequency attack: x' = IDCT(round(DCT(x) / q) q) in blocks, with q learnt.

    **One** table q of the block's shape serves all blocks of a channel; each step does q <- clip(q + step sign(grad),
    q_min, q_max). The perturbation has no bound: the epsilon of the threat model is ignored (at epsilon 0 as well), its
    valid range and storage are kept, and the true distance is reported.

    Parameters
    ----------
    steps : int
        Number of steps.
    step_size : float
        Step of q, in grey levels of 255.
    block : int
        Edge of a block in voxels.
    q_start, q_min, q_max : float
        First value and bounds of the table, in grey levels of 255. The paper starts at 1, its least; the authors'
        code starts at ``q_max`` with a least of 5.
    iterate : str
        ``"last"``, the paper's, or ``"best"``: lowest DSC of the stitched prediction among the iterates checked.
    check_every : int or None
        Steps between two such checks, 1 by default; the last iterate is always checked.
    """

    algorithm: Literal["vafa"] = "vafa"
    loss: str = "dice"
    gradient: Mode = "fused"
    steps: PositiveInt = 20
    step_size: PositiveFloat = 1.0
    block: Annotated[int, Field(ge=2)] = 32
    q_start: PositiveFloat = 1.0
    q_min: PositiveFloat = 1.0
    q_max: PositiveFloat = 20.0
    iterate: Literal["last", "best"] = "last"
    check_every: PositiveInt | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.q_min <= self.q_start <= self.q_max:
            raise InputError(
                f"attack {self.name}: q_start {self.q_start:g} must lie from q_min {self.q_min:g} to q_max "
                f"{self.q_max:g}"
            )
        if self.check_every is not None and self.iterate == "last":
            raise InputError(f"attack {self.name}: check_every has no effect with iterate = 'last'; leave it out")
        return self

    @property
    def bounded(self) -> bool:
        """It has no epsilon."""
        return False

    @property
    def cost(self) -> str:
        """What one case costs, for listings."""
        checks = -(-self.steps // (self.check_every or 1)) if self.iterate == "best" else 0
        return spending(self.steps, checks)

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse a threat model without a valid range, and a loss that the classes do not allow."""
        super().check(classes, threat)
        valid_ranges(self.name, threat, 1)

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case; nothing is random.

        Returns
        -------
        Adversarial
            Details ``mean_table``, the mean of the q that counts, in grey levels; with a goal, its figures.

        Raises
        ------
        InputError
            If the threat model has no valid range, or the case has no label.
        """
        self.check(pipeline.classes, threat)
        attempt = Attempt(pipeline, volume, threat, seed, bounded=False)
        search = Search(attempt, self)
        spans, origin = valid_ranges(self.name, threat, volume.channels), threat.origin(attempt.clean)
        codec = Codec(origin, spans[0], self.block) if len(spans) == 1 else ChannelCodec(origin, spans, self.block)
        edges = window_shape([self.block] * 3, volume.channels)
        table = chosen = torch.full(edges, self.q_start, device=attempt.clean.device)
        decoded = codec.decode(table)
        candidate = keep_range(threat, decoded, attempt.clean)
        every = self.check_every or 1
        for number in range(self.steps):
            _, gradient = search.climb(candidate, number / self.steps)
            step = self.step_size * codec.table_gradient(table, decoded, gradient).sign()
            table = (table + step).clamp(self.q_min, self.q_max)
            decoded = codec.decode(table)
            candidate = keep_range(threat, decoded, attempt.clean)
            last = number + 1 == self.steps
            if self.iterate == "best" and (last or (number + 1) % every == 0):
                search.consider(candidate)
            if search.best is candidate or (last and self.iterate == "last"):
                chosen = table
        if self.iterate == "best":
            candidate = search.best
        return search.result(candidate, {"mean_table": float(chosen.mean())})


def valid_ranges(name: str, threat: ThreatModel, channels: int) -> tuple[tuple[float, float], ...]:
    """Return the valid range of each channel, which the attack ``name`` needs.

    Raises
    ------
    InputError
        If it has none.
    """
    if not threat.spans:
        raise InputError(
            f"attack {name} maps the valid range to 0 to 255 and the threat model has none; give it a valid range"
        )
    return threat.valids or threat.spans * channels
