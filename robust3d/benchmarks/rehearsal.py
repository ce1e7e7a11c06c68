# SPDX-License-Identifier: Apache-2.0
"""What an attack asks of a model, found by running it on a small volume with a model that answers at once."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.attacks.attack import Attack
from robust3d.attacks.transfer import Transfer
from robust3d.foundation.errors import InputError
from robust3d.losses.registry import Loss, find_loss
from robust3d.segment.pipeline import Mode, Statistics, Target, VolumeT, Windows
from robust3d.segment.prediction import Prediction
from robust3d.threat.model import ThreatModel
from robust3d.volume.channels import as_image
from robust3d.volume.volume import Volume

_EDGE = 16


class Request(NamedTuple):
    """One gradient, by its options, or with mode ``"predict"`` one prediction."""

    mode: str
    windows: Windows = "all"
    target: str = "c2f"


PREDICT = Request("predict")


def rehearse(attack: Attack, threat: ThreatModel, *, classes: int, stages: int, channels: int = 1) -> Counter[Request]:
    """Return how often an attack asks for what on one case, at most; the evaluation of its result is not counted.

    The numbers do not depend on the volume, but for attacks that may end early, which here do not.
    """
    if isinstance(attack, Transfer):
        attack = attack.attack
    label = np.zeros((_EDGE,) * 3, np.uint8)
    label[4:12, 4:12, 4:12] = 1
    spans = threat.valids or (threat.spans or ((-100.0, 240.0),)) * channels
    parts = [np.where(label > 0, 0.6 * low + 0.4 * high, 0.4 * low + 0.6 * high) for low, high in spans]
    image = as_image(np.stack(parts).astype(np.float32))
    if threat.storage == "int16":
        image = image.round()
    volume = Volume(image, label, np.eye(4), (1.0, 1.0, 1.0), "rehearsal")
    model = _Prompt(label, classes, stages, channels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            attack(model, volume, threat, 0)
        except InputError:
            # Such as a goal that lies in a file of the case's shape. What was asked until then is still the least.
            return model.asked
    return model.asked


class _Prompt:
    """A pipeline that notes what it is asked for."""

    device = torch.device("cpu")

    def __init__(self, label: NDArray[np.uint8], classes: int, stages: int, channels: int) -> None:
        self.classes = classes
        self.channels = channels
        self.stages = stages
        # Another one each time, so that no attack remembers what it crafted in an earlier rehearsal.
        self.weights_sha256 = uuid4().hex
        self.asked: Counter[Request] = Counter()
        self._truth = label
        # A DSC just above 0: below the threshold of a bisection, and yet a search goes on.
        self._lost = np.zeros_like(label)
        self._lost[4, 4, 4:12] = 1

    def settings(self) -> dict[str, Any]:
        """Return no setting of a real model."""
        return {"rehearsal": [self.classes, self.stages]}

    def frozen_at(self, image: NDArray[Any] | Tensor) -> _Prompt:
        """Return itself: it has no statistics."""
        return self

    def predict(self, image: NDArray[Any] | Tensor) -> Prediction:
        """Be right the first time and nearly lost ever after."""
        mask = self._lost if self.asked[PREDICT] else self._truth
        self.asked[PREDICT] += 1
        return Prediction(mask, mask)

    def loss_gradient(
        self,
        image: VolumeT,
        label: NDArray[Any] | Tensor,
        loss: str | Loss = "ce",
        mode: Mode = "window_mean",
        windows: Windows = "all",
        *,
        target: Target = "c2f",
        statistics: Statistics = "frozen",
    ) -> tuple[float, VolumeT]:
        """Give a gradient of 1 everywhere; the loss is called, for those that watch the logits."""
        self.asked[Request(mode, windows, target)] += 1
        truth: Tensor = torch.as_tensor(label).long()
        logits = torch.zeros((1, self.classes, *truth.shape), requires_grad=True)
        value = float(find_loss(loss)(logits, truth[None]).detach())
        gradient = torch.ones_like(image) if isinstance(image, Tensor) else np.ones_like(image)
        return value, gradient
