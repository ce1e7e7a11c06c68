# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch import nn

from robust3d.segment.cascade import CoarseToFine
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import hu_window
from robust3d.segment.segmenter import Segmenter
from robust3d.volume.volume import Volume


def _net(seed: int, classes: int = 2) -> nn.Module:
    """Smooth random net: blurs, then thresholds softly, so that its masks have connected parts."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(
        nn.Conv3d(1, 6, 5, padding=2),
        nn.BatchNorm3d(6),
        nn.Tanh(),
        nn.Conv3d(6, classes, 3, padding=1),
        nn.Dropout(0.5),
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.randn(6, 1, 5, 5, 5, generator=generator) / 5)
        net[3].weight.copy_(torch.randn(classes, 6, 3, 3, 3, generator=generator) / 2)
    return net


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter.from_network(_net(0), window=(12, 10, 8), grid=overlap(0.5), intensity=hu_window(-100, 240))


@pytest.fixture
def three_classes() -> Segmenter:
    return Segmenter.from_network(_net(0, 3), window=(12, 10, 8), grid=overlap(0.5), intensity=hu_window(-100, 240))


@pytest.fixture
def cascade(segmenter: Segmenter) -> CoarseToFine:
    fine = Segmenter.from_network(_net(0), window=8, grid=overlap(0.5), intensity=hu_window(-100, 240))
    return CoarseToFine(coarse=segmenter, fine=fine, margin=(2, 2, 2))


@pytest.fixture
def volume(segmenter: Segmenter) -> Volume:
    """Non-cubic volume with values at and beyond both ends of the window; its label is what the segmenter sees."""
    random = np.random.default_rng(0)
    image = random.normal(70, 120, (22, 18, 14)).astype(np.float32)
    image[:2] = -1000
    image[-1] = 900
    label = segmenter.predict(image).mask
    label[:, :, :2] = 0
    return Volume(image=image, label=label, affine=np.diag([3.0, 3, 4, 1]), spacing=(3, 3, 4), name="case")
