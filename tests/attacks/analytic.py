# SPDX-License-Identifier: Apache-2.0
"""Pipelines whose loss is a formula of the volume, so that the best perturbation is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robust3d.segment.prediction import Prediction
from robust3d.volume.volume import Volume


@dataclass(frozen=True)
class Quadratic:
    """Loss -mean((x - peak)^2); a voxel is predicted right while it is further than ``reach`` from the peak."""

    peak: torch.Tensor
    reach: float = 0.2
    classes: int = 2
    stages: int = 1
    weights_sha256: str = "quadratic"

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def settings(self) -> dict[str, Any]:
        return {}

    def frozen_at(self, image):
        return self

    def loss_gradient(self, image, label, **options):
        difference = image - self.peak
        return -float(difference.square().mean()), -2 * difference / difference.numel()

    def predict(self, image) -> Prediction:
        mask = ((torch.as_tensor(image) - self.peak).abs() > self.reach).numpy().astype(np.uint8)
        return Prediction(mask=mask, raw=mask)


def volume_of_ones(shape: tuple[int, int, int], value: float = 0.0) -> Volume:
    image = np.full(shape, value, np.float32)
    return Volume(image=image, label=np.ones(shape, np.uint8), affine=np.eye(4), spacing=(1, 1, 1), name="ones")
