# SPDX-License-Identifier: Apache-2.0
"""One perturbation for all cases (Moosavi-Dezfooli et al., arXiv:1610.08401; Shafahi et al., arXiv:1811.11304)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from robust3d.attacks.attack import Adversarial, Attempt, spending
from robust3d.attacks.objective import GradientAttack, Search
from robust3d.data.phantoms import PhantomDataset
from robust3d.foundation.digest import digest_json, mix_seed
from robust3d.foundation.errors import InputError
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume

_SHORTEST_PHANTOM = 16
_KEPT = 4


class Universal(GradientAttack):
    """Adds one perturbation, crafted on the phantom's training cases, to every case of a shape and spacing.

    It is crafted as many phantoms of the attacked volume's shape and spacing as ``train_cases`` by projected ascent
    along the gradient of one case after the other, ``passes`` times through all of them. So it depends on the model,
    the threat model, the shape and the spacing, on the seed if ``start`` is ``"uniform"``, and never on the content
    of the attacked case. The process keeps the last four perturbations; the result is the same without.

    Parameters
    ----------
    train_cases, passes : int
        Phantoms, and passes through them.
    relative_step : float
        Step as a fraction of epsilon.
    start : str
        ``"clean"`` (no perturbation), or ``"uniform"`` in the epsilon-ball.
    """

    algorithm: Literal["universal"] = "universal"
    train_cases: PositiveInt = 4
    passes: PositiveInt = 5
    relative_step: PositiveFloat = 0.25
    start: Literal["clean", "uniform"] = "clean"

    @property
    def cost(self) -> str:
        """What one case costs, for listings."""
        return f"nothing; {spending(self.train_cases * self.passes)} once for a shape and spacing"

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse other units than HU, since the phantom is a CT, and a loss that the classes do not allow."""
        super().check(classes, threat)
        if threat.volume_unit != "HU":
            raise InputError(
                f"attack {self.name} is crafted on CT phantoms in HU and the threat model is in {threat.unit}; call "
                "robust3d.attacks.universal.craft_universal with cases of your own"
            )

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case.

        Returns
        -------
        Adversarial
            No gradient of its own case. Details ``crafting_gradients``, spent once for all cases, and
            ``crafting_loss``, the mean loss of each pass.

        Raises
        ------
        InputError
            If the threat model is not in HU, or the case has no label or several channels.
        """
        self.check(pipeline.classes, threat)
        if volume.channels > 1:
            raise InputError(
                f"attack {self.name} is crafted on CT phantoms of one channel and case {volume.name} has "
                f"{volume.channels}; call robust3d.attacks.universal.craft_universal with cases of your own"
            )
        attempt = Attempt(pipeline, volume, threat, seed)
        crafted = self._crafted(pipeline, volume, threat, seed)
        moved = threat.origin(attempt.clean) + crafted.change.to(attempt.clean)
        figures = {"crafting_gradients": self.train_cases * self.passes, "crafting_loss": list(crafted.losses)}
        return Search(attempt, self).result(threat.project(moved, attempt.clean), figures)

    def _crafted(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int) -> Crafted:
        key = digest_json(
            {
                "model": pipeline.weights_sha256,
                "pipeline": pipeline.settings(),
                "device": str(pipeline.device),
                "attack": self.settings(),
                "threat": threat.settings(),
                "shape": list(volume.shape),
                "spacing": [float(step) for step in volume.spacing],
                "seed": int(seed) if self.start == "uniform" else None,
            }
        )
        if key in _memory:
            _memory.move_to_end(key)
            return _memory[key]
        cases = training_cases(self.train_cases, volume.shape, volume.spacing, cyst=pipeline.classes > 2)
        _memory[key] = crafted = craft_universal(pipeline, cases, threat, self, seed)
        while len(_memory) > _KEPT:
            _memory.popitem(last=False)
        return crafted


@dataclass(frozen=True)
class Crafted:
    """A universal perturbation.

    Parameters
    ----------
    change : Tensor, shape (D1, D2, D3)
        On the CPU, in the volume's unit, within epsilon; not yet clipped to a case's valid range.
    losses : tuple of float
        Mean loss of each pass.
    """

    change: Tensor
    losses: tuple[float, ...]


_memory: OrderedDict[str, Crafted] = OrderedDict()


def craft_universal(
    pipeline: Pipeline, cases: Sequence[Volume], threat: ThreatModel, attack: Universal, seed: int = 0
) -> Crafted:
    """Craft one perturbation for cases of equal shape.

    Parameters
    ----------
    pipeline : Pipeline
        Model under attack.
    cases : sequence of Volume
        Labelled, all of one shape.
    threat : ThreatModel
        Bound of the perturbation; range and storage of what the model is shown.
    attack : Universal
        Objective, passes, step and start; its ``train_cases`` is not used.
    seed : int
        Of the uniform start.

    Raises
    ------
    InputError
        If there is no case, or shapes differ.
    """
    shapes = {case.image.shape for case in cases}
    if len(shapes) != 1:
        found = ", ".join(map(str, sorted(shapes))) or "none"
        raise InputError(f"a universal perturbation needs cases of one shape, found {found}; crop or resample them")
    ball = replace(threat, valid=None, valids=(), storage="float32")
    zero = torch.zeros(shapes.pop(), device=pipeline.device)
    change = zero
    if attack.start == "uniform":
        change = ball.noise(zero, torch.Generator().manual_seed(mix_seed("universal", int(seed))))
    losses = []
    for passed in range(attack.passes):
        values = []
        for case in cases:
            attempt = Attempt(pipeline, case, threat, seed)
            candidate = threat.project(threat.origin(attempt.clean) + change, attempt.clean)
            value, gradient = Search(attempt, attack).climb(candidate, passed / attack.passes)
            step = attack.relative_step * threat.epsilon
            change = ball.project(change + step * ball.steepest(gradient), zero)
            values.append(value)
        losses.append(float(np.mean(values)))
    return Crafted(change.cpu(), tuple(losses))


def training_cases(
    count: int, shape: tuple[int, int, int], spacing: tuple[float, float, float], *, cyst: bool = False
) -> list[Volume]:
    """Return training phantoms; of an axis shorter than a phantom can be, the first voxels are kept."""
    first, second, third = shape
    longest = (max(first, _SHORTEST_PHANTOM), max(second, _SHORTEST_PHANTOM), max(third, _SHORTEST_PHANTOM))
    phantoms = PhantomDataset("train", count, longest, spacing, cyst)
    part = (slice(first), slice(second), slice(third))
    return [
        replace(case, image=np.ascontiguousarray(case.image[part]), label=case.known_label()[part].copy())
        for case in map(phantoms.load, phantoms.names)
    ]
