# SPDX-License-Identifier: Apache-2.0
"""Influential windows: what is chosen, and how near the gradient stays to the one of all windows."""

import pytest
import torch
from torch import nn

from robust3d.foundation.errors import InputError
from robust3d.segment import segmenter as module
from robust3d.segment.cost import counting
from robust3d.segment.fusion import Fusion
from robust3d.segment.grid import overlap
from robust3d.segment.influence import SHARES, influence, windows_with_share
from robust3d.segment.intensity import hu_window
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.windows import WindowPlan


def test_influence_is_the_slope_by_the_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((3, 4, 5, 6), generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (4, 5, 6), generator=generator)
    leaf = logits.clone().requires_grad_(True)
    torch.nn.functional.cross_entropy(leaf[None], label[None]).backward()
    expected = leaf.grad.abs().sum(0)
    fused = logits.log_softmax(0).requires_grad_(True)
    # As the exact gradient takes it: the derivative by log-probabilities, before their normalisation.
    loss = -fused.gather(0, label[None]).mean()
    (cotangent,) = torch.autograd.grad(loss, fused)
    torch.testing.assert_close(influence(Fusion("probabilities"), fused.detach(), cotangent), expected)
    torch.testing.assert_close(influence(Fusion("logits"), logits, leaf.grad), expected)


def test_the_shares_are_those_that_results_were_measured_with() -> None:
    assert dict(SHARES) == {"influential": 0.98, "decisive": 0.8, "leading": 0.15}


def test_the_fewest_windows_that_hold_the_share_are_kept() -> None:
    plan = WindowPlan.of((8, 2, 2), (2, 2, 2), overlap(0.0))
    slope = torch.zeros(8, 2, 2)
    slope[0], slope[2], slope[4], slope[6] = 0.25, 0.1, 24.0, 0.4
    ones = torch.ones(2, 2, 2)
    # Of 24.75 a slice, 24.4 is 98.6 %: the third and the fourth window.
    kept = windows_with_share(plan, slope, ones, plan.coverage(ones), 0.98)
    assert list(kept.corners) == [(4, 0, 0), (6, 0, 0)]
    assert len(windows_with_share(plan, torch.ones(8, 2, 2), ones, plan.coverage(ones), 0.98).corners) == 4
    assert list(windows_with_share(plan, slope, ones, plan.coverage(ones), 0.1).corners) == [(4, 0, 0)]


@pytest.fixture
def segmenter() -> Segmenter:
    """A net that is sure of background but for bright voxels."""
    net = nn.Conv3d(1, 2, 3, padding=1)
    with torch.no_grad():
        net.weight.zero_()
        net.weight[1, 0] = 0.4
        net.bias.copy_(torch.tensor([0.0, -10.0]))
    return Segmenter.from_network(net, window=8, grid=overlap(0.5), intensity=hu_window(-100, 240))


def test_few_windows_give_nearly_the_whole_gradient(segmenter) -> None:
    image = torch.zeros(40, 32, 24)
    image[6:12, 6:12, 6:12] = 200
    label = (image > 100).long()
    results = {}
    for windows in ("all", "influential"):
        with counting() as cost:
            results[windows] = segmenter.loss_gradient(image, label, "ce", "fused", windows)
        results[windows] += (cost.gradient_windows,)
    (value, gradient, number), (fewer_value, fewer, fewer_number) = results["all"], results["influential"]
    assert fewer_value == value
    assert fewer_number < number / 3
    assert float((gradient - fewer).abs().sum() / gradient.abs().sum()) < 0.05


def test_the_whole_share_gives_the_whole_gradient(segmenter, monkeypatch) -> None:
    monkeypatch.setattr(module, "SHARES", {"influential": 1.0})
    generator = torch.Generator().manual_seed(1)
    image = torch.rand((14, 12, 10), generator=generator) * 300 - 100
    label = (image > 100).long()
    whole, chosen = (segmenter.loss_gradient(image, label, "dice", "fused", one)[1] for one in ("all", "influential"))
    assert torch.equal(whole, chosen)


def test_modes_that_do_not_fit_the_windows_are_refused(segmenter) -> None:
    image = torch.zeros(8, 8, 8)
    for windows in SHARES:
        with pytest.raises(InputError, match="use mode 'fused'"):
            segmenter.loss_gradient(image, image.long(), "ce", "window_mean", windows)
    with pytest.raises(InputError, match="use mode 'window_mean'"):
        segmenter.loss_gradient(image, image.long(), "ce", "fused", "tiling")
