# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from healthy import THREAT, Blurred, segmenter
from scipy.ndimage import gaussian_filter
from torch import nn

from robust3d.benchmarks.diagnostics.exam import Exam
from robust3d.volume.volume import Volume


@pytest.fixture(scope="session")
def volume() -> Volume:
    """Two balls of 100 HU in a body of 50 HU and air, with noise."""
    random = np.random.default_rng(0)
    place = np.moveaxis(np.indices((20, 18, 14)), 0, -1)
    label = np.zeros(place.shape[:3], np.uint8)
    for centre, radius in (((8, 7, 6), 4), ((14, 12, 8), 3)):
        label[np.linalg.norm(place - centre, axis=-1) <= radius] = 1
    image = gaussian_filter(np.where(label, 110.0, 20.0), 0.7) + random.normal(0, 5, label.shape)
    image[:, :, :1] = -1000
    return Volume(image=image.astype(np.float32), label=label, affine=np.eye(4), spacing=(1, 1, 1), name="balls")


@pytest.fixture
def exam(volume):
    def make(network: nn.Module | None = None, *, options: dict | None = None, **changes) -> Exam:
        model = segmenter(network or Blurred(), **(options or {}))
        return Exam(model, volume, changes.pop("threat", THREAT), **changes)

    return make
