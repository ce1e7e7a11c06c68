# SPDX-License-Identifier: Apache-2.0
"""Square Attack with cubes: random search that sees masks only (Andriushchenko et al., arXiv:1912.00049)."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from robust3d.attacks.attack import Adversarial, Attack, Attempt, spending
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.prediction import Box
from robust3d.threat.model import ThreatModel
from robust3d.volume.channels import as_image, crop, spatial_shape
from robust3d.volume.volume import Volume

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Steps of 10,000 after which p is halved, as in the authors' code."""


def changed_share(number: int, queries: int, p_init: float) -> float:
    """Return p, the share of the voxels that step ``number`` of ``queries`` changes; the schedule is rescaled."""
    scaled = 10_000 * number // queries
    return p_init / 2.0 ** sum(scaled > place for place in _HALVINGS)


def cube_edges(share: float, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the edges of a cube that holds a share of the voxels, cut where an axis is shorter than it."""
    edge = max(1, round((share * math.prod(shape)) ** (1 / 3)))
    return tuple(min(edge, length) for length in shape)


class Square(Attack):
    """Random search over cubes at plus or minus epsilon, with the deployed mask as the only feedback.

    The start has columns along the third axis, each at plus or minus epsilon at random (the paper's vertical stripes).
    Each step sets one cube to plus or minus epsilon; its place is uniform among those inside the volume, its sign
    random unless that sign changes nothing, then the other one. A cube reaches through all channels, with a sign for
    each, as the paper's squares do; every channel moves by its own epsilon. The step is accepted if the mean foreground
    DSC of the mask is **not higher** than the lowest so far: a mask changes in jumps, so that a strict rule, the
    paper's on a continuous loss, would stand still on every plateau. A cube that neither sign changes costs no query;
    at DSC 0 the search ends.

    Parameters
    ----------
    queries : int
        Most predictions of the deployed pipeline, the start's included.
    p_init : float
        Share of the voxels that a cube holds at first, above 0 up to 1.
    """

    algorithm: Literal["square"] = "square"
    queries: PositiveInt = 100
    p_init: Annotated[float, Field(gt=0, le=1)] = 0.8

    @property
    def norms(self) -> tuple[str, ...]:
        """Of cubes with one sign, ``linf``."""
        return ("linf",)

    @property
    def objective(self) -> str:
        """What is optimised, for listings."""
        return "DSC of the mask"

    @property
    def cost(self) -> str:
        """What one case costs, for listings."""
        return f"{spending(predictions=self.queries)} at most"

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case.

        Returns
        -------
        Adversarial
            Details ``start_dsc`` and ``dsc`` of the mask, from 0 to 1, and the number of steps ``accepted``.

        Raises
        ------
        InputError
            If the threat model is not ``linf``, or the case has no label.
        """
        self.check(pipeline.classes, threat)
        attempt = Attempt(pipeline, volume, threat, seed)
        random = attempt.generator()
        current = _columns(attempt, random)
        start = lowest = attempt.dsc(attempt.predict(current))
        accepted = 0
        for number in range(1, self.queries):
            if lowest == 0:
                break
            edges = cube_edges(changed_share(number, self.queries, self.p_init), volume.shape)
            candidate = _repainted(current, attempt, edges, random)
            if candidate is None:
                continue
            score = attempt.dsc(attempt.predict(candidate))
            if score <= lowest:
                current, lowest, accepted = candidate, score, accepted + 1
        return attempt.result(current, details={"start_dsc": start, "dsc": lowest, "accepted": accepted})


def _columns(attempt: Attempt, random: torch.Generator) -> Tensor:
    """Return the start."""
    *channels, first, second, _ = attempt.clean.shape
    signs = torch.randint(0, 2, (*channels, first, second, 1), generator=random) * 2 - 1
    threat, clean = attempt.threat, attempt.clean
    return threat.project(threat.origin(clean) + threat.weigh(threat.epsilon * signs.to(clean)), clean)


def _repainted(current: Tensor, attempt: Attempt, edges: tuple[int, ...], random: torch.Generator) -> Tensor | None:
    """Return ``current`` with one cube at plus or minus epsilon, or ``None`` if neither sign changes a voxel."""
    box = _place(spatial_shape(current), edges, random)
    signs = torch.randint(0, 2, (attempt.volume.channels, 1, 1, 1), generator=random) * 2 - 1
    threat, clean = attempt.threat, crop(attempt.clean, box)
    for way in (1, -1):
        # The linf projection is voxel by voxel, so that of a part is the part of it.
        change = threat.weigh(threat.epsilon * as_image(way * signs).to(clean))
        cube = threat.project(threat.origin(clean) + change, clean)
        if not torch.equal(cube, crop(current, box)):
            candidate = current.clone()
            crop(candidate, box).copy_(cube)
            return candidate
    return None


def _place(shape: tuple[int, ...], edges: tuple[int, ...], random: torch.Generator) -> Box:
    first, second, third = (
        slice(low, low + edge)
        for edge, low in (
            (edge, int(torch.randint(0, length - edge + 1, (1,), generator=random)))
            for length, edge in zip(shape, edges, strict=True)
        )
    )
    return first, second, third
