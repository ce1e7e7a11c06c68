# SPDX-License-Identifier: Apache-2.0
"""The clean prediction is computed once, told by its content, and counts as if it were computed each time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robust3d.segment.cost import counting
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import hu_window
from robust3d.segment.recall import predict, predict_clean
from robust3d.segment.segmenter import Segmenter


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv3d(1, 2, 3, padding=1)
        self.calls = 0

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.inner(windows)


@pytest.fixture
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter.from_network(
        Counted(), window=8, grid=overlap(0.5), intensity=hu_window(-100, 240), window_batch=4
    )


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(50, 150, (16, 12, 8)).astype(np.float32)


def calls(segmenter: Segmenter, ask) -> int:
    before = segmenter.network.calls
    ask()
    return segmenter.network.calls - before


def test_equal_content_is_predicted_once_and_counted_each_time(segmenter, image) -> None:
    with counting() as first:
        clean = predict_clean(segmenter, image)
    with counting() as again:
        assert calls(segmenter, lambda: predict_clean(segmenter, image.copy())) == 0
    assert (again.forward_windows, again.gradient_windows) == (first.forward_windows, 0)
    assert first.forward_windows == 6
    # The network sees no difference between a volume and its truncation.
    truncated = torch.from_numpy(image.clip(-100, 240))
    with counting() as within:
        assert calls(segmenter, lambda: predict(segmenter, truncated)) == 0
    assert within.forward_windows == 6
    assert np.array_equal(clean.mask, segmenter.predict(truncated).mask)


def test_anything_else_is_computed(segmenter, image) -> None:
    predict_clean(segmenter, image)
    other = image.copy()
    other[3, 4, 5] += 0.5 if -100 <= other[3, 4, 5] < 239 else 200
    moved = replace(segmenter, min_component=0.5)
    same = replace(segmenter)
    for pipeline, volume in ((segmenter, other), (moved, image), (same, image), (segmenter.frozen_at(image), image)):
        assert calls(segmenter, lambda one=pipeline, seen=volume: predict(one, seen)) > 0
    # Predictions on the way never take the place of the clean one, and changed weights do not pass for the old.
    assert calls(segmenter, lambda: predict(segmenter, image)) == 0
    with torch.no_grad():
        segmenter.network.inner.bias.add_(1)
    assert calls(segmenter, lambda: predict(segmenter, image)) > 0


def test_another_clean_volume_takes_the_place(segmenter, image) -> None:
    predict_clean(segmenter, image)
    predict_clean(segmenter, image + 1)
    assert calls(segmenter, lambda: predict(segmenter, image)) > 0
    with pytest.raises(ValueError, match="read-only"):
        predict_clean(segmenter, image).mask[0] = 1
