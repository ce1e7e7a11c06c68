# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice

from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import Counts, count, dsc, foreground_dsc
from robust3d.metrics.statistics import paired_drop, summarise


@pytest.mark.parametrize("seed", range(5))
def test_dsc_equals_monai(seed) -> None:
    random = np.random.default_rng(seed)
    prediction, label = random.integers(0, 3, (2, 7, 6, 5))
    hot = [torch.nn.functional.one_hot(torch.from_numpy(one), 3).movedim(-1, 0)[None] for one in (prediction, label)]
    theirs = compute_dice(*hot, include_background=False)[0]
    ours = [dsc(prediction, label, index) for index in (1, 2)]
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)
    assert foreground_dsc(prediction, label, 3) == pytest.approx(float(theirs.mean()), rel=1e-6)
    counts = count(prediction, label)
    assert counts.tp + counts.fp + counts.fn + counts.tn == label.size


def test_empty_masks() -> None:
    empty, full = np.zeros((3, 3, 3), np.uint8), np.ones((3, 3, 3), np.uint8)
    assert dsc(empty, empty) == 1
    assert dsc(full, empty) == dsc(empty, full) == 0
    assert count(full, empty).false_positive_on_empty
    assert not count(full, full).false_positive_on_empty
    with pytest.raises(InputError, match="must be equal"):
        count(empty, full[:2])
    assert Counts(1, 2, 3, 4) + Counts(1, 1, 1, 1) == Counts(2, 3, 4, 5)


def test_summary_by_hand() -> None:
    summary = summarise([1, 2, 3, 10])
    assert (summary.mean, summary.median, summary.max, summary.min) == (4, 2.5, 10, 1)
    assert summary.std == pytest.approx(math.sqrt((9 + 4 + 1 + 36) / 4))
    with pytest.raises(InputError):
        summarise([])


def test_a_constant_drop_has_no_spread() -> None:
    drop = paired_drop([90, 80, 70], [50, 40, 30])
    assert (drop.mean, drop.low, drop.high) == (40, 40, 40)


def test_interval_is_that_of_the_normal_approximation() -> None:
    # Paired: the interval is that of the differences (s.d. 2), not of the values (s.d. 20).
    random = np.random.default_rng(0)
    clean = random.normal(80, 20, 400)
    drop = paired_drop(clean, clean - random.normal(10, 2, 400))
    assert drop.low < drop.mean < drop.high
    assert drop.high - drop.low == pytest.approx(2 * 1.96 * 2 / math.sqrt(400), rel=0.1)
    assert drop.mean == pytest.approx(10, abs=0.3)


def test_one_case_has_no_interval() -> None:
    drop = paired_drop([90], [50])
    assert drop.mean == 40
    assert math.isnan(drop.low)
    assert math.isnan(drop.high)
    with pytest.raises(InputError, match="2 clean and 1 attacked"):
        paired_drop([1, 2], [1])


def test_interval_repeats_and_follows_the_confidence() -> None:
    clean, attacked = [90, 80, 70, 85, 60], [50, 45, 10, 30, 20]
    drop = paired_drop(clean, attacked)
    assert paired_drop(clean, attacked) == drop
    narrow = paired_drop(clean, attacked, confidence=0.5)
    assert drop.low < narrow.low < drop.mean < narrow.high < drop.high
    assert drop.low >= min(a - b for a, b in zip(clean, attacked, strict=True))
