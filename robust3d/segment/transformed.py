# SPDX-License-Identifier: Apache-2.0
"""A model behind an input transform, as one pipeline: attacks see the transform and their gradients pass it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.losses.registry import Loss
from robust3d.segment.pipeline import Mode, Pipeline, Statistics, Target, VolumeT, Windows
from robust3d.segment.prediction import Prediction
from robust3d.segment.supply import volume_tensor
from robust3d.segment.transform import InputTransform


@dataclass(frozen=True)
class Transformed:
    """``pipeline`` after ``transform``.

    Parameters
    ----------
    pipeline : Pipeline
        The model behind; its normalisation statistics are those of the transformed volume.
    transform : InputTransform
        What a volume passes first.
    """

    pipeline: Pipeline
    transform: InputTransform

    @property
    def device(self) -> torch.device:
        """That of the model behind."""
        return self.pipeline.device

    @property
    def classes(self) -> int:
        """Those of the model behind."""
        return self.pipeline.classes

    @property
    def channels(self) -> int:
        """Those of the model behind."""
        return self.pipeline.channels

    @property
    def stages(self) -> int:
        """Those of the model behind."""
        return self.pipeline.stages

    @property
    def weights_sha256(self) -> str:
        """That of the model behind."""
        return self.pipeline.weights_sha256

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready settings of transform and model."""
        return {"transform": self.transform.settings(), "pipeline": self.pipeline.settings()}

    def frozen_at(self, image: NDArray[Any] | Tensor) -> Self:
        """Return this pipeline with the normalisation statistics of the transformed ``image`` held fixed."""
        return replace(self, pipeline=self.pipeline.frozen_at(self.transform(self._tensor(image))))

    def predict(self, image: NDArray[Any] | Tensor) -> Prediction:
        """Segment a raw volume."""
        return self.pipeline.predict(self.transform(self._tensor(image)))

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
        """Return a loss and its gradient through the transform; see :class:`robust3d.segment.pipeline.Pipeline`."""
        raw = self._tensor(image)
        value, inner = self.pipeline.loss_gradient(
            self.transform(raw), label, loss, mode, windows, target=target, statistics=statistics
        )
        gradient = self.transform.backward(raw, inner)
        return value, gradient.to(image.device) if isinstance(image, Tensor) else gradient.cpu().numpy()

    def _tensor(self, image: NDArray[Any] | Tensor) -> Tensor:
        return volume_tensor(image, self.device, self.classes, self.channels)
