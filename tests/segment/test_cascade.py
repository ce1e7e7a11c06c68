# SPDX-License-Identifier: Apache-2.0
"""Coarse-to-fine: the box of Eq. 4, the paste of Eq. 5, and the targets of its gradient."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robust3d.foundation.errors import InputError
from robust3d.losses.cross_entropy import cross_entropy
from robust3d.segment.cascade import CoarseToFine
from robust3d.segment.cost import counting
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import unit_window
from robust3d.segment.segmenter import Segmenter


def threshold(level: float) -> nn.Module:
    """Foreground above ``level`` HU, voxel by voxel, with input (x + 100) / 340."""
    net = nn.Conv3d(1, 2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([0.0, 20.0]).view(2, 1, 1, 1, 1))
        net.bias.copy_(torch.tensor([0.0, -20 * (level + 100) / 340]))
    return net


def stage(level: float, window: int) -> Segmenter:
    return Segmenter.from_network(threshold(level), window=window, grid=overlap(0.5), intensity=unit_window(-100, 240))


@pytest.fixture
def cascade() -> CoarseToFine:
    return CoarseToFine(coarse=stage(150, 8), fine=stage(100, 4), margin=(1, 2, 0))


@pytest.fixture
def image() -> np.ndarray:
    image = np.zeros((20, 16, 12), np.float32)
    image[8:12, 5:9, 3:8] = 120
    image[9:11, 6:8, 4:7] = 200
    image[0, 0, 0] = 120  # outside the box: only the fine stage would call it foreground
    return image


def test_fine_stage_replaces_the_coarse_one_inside_its_box_only(cascade, image) -> None:
    prediction = cascade.predict(image)
    # Coarse foreground 9:11, 6:8, 4:7; margin 1, 2, 0 gives 8:12, 4:10, 4:7; axis 2 grows from 3 to the window of 4.
    assert prediction.box == (slice(8, 12), slice(4, 10), slice(4, 8))
    expected = np.zeros(image.shape, np.uint8)
    expected[8:12, 5:9, 4:8] = 1
    assert np.array_equal(prediction.raw, expected)


def test_an_empty_coarse_prediction_is_kept(cascade) -> None:
    prediction = cascade.predict(np.full((10, 9, 8), 120, np.float32))
    assert prediction.box is None
    assert prediction.coarse_empty
    assert prediction.mask.sum() == 0


def test_only_a_cascade_says_that_its_coarse_stage_was_empty(cascade, image) -> None:
    assert not cascade.predict(image).coarse_empty
    assert not cascade.coarse.predict(np.zeros_like(image)).coarse_empty


@pytest.mark.parametrize("place", [(0, 0, 0), (19, 15, 11), (0, 15, 5)])
def test_a_box_at_the_border_stays_inside_and_keeps_its_size(cascade, place) -> None:
    image = np.zeros((20, 16, 12), np.float32)
    image[place] = 200
    box = cascade.predict(image).box
    for part, length, centre in zip(box, image.shape, place, strict=True):
        assert 0 <= part.start <= centre < part.stop <= length
        assert part.stop - part.start >= 4


@pytest.mark.parametrize("align", [1, 2, 4])
def test_an_aligned_box_holds_the_box_and_lies_at_multiples(cascade, image, align) -> None:
    plain, aligned = cascade.predict(image).box, replace(cascade, align=align).predict(image).box
    for small, large, length in zip(plain, aligned, image.shape, strict=True):
        assert large.start == small.start // align * align
        assert large.stop == min(length, -(-small.stop // align) * align)


def test_targets(cascade, image) -> None:
    label = (image >= 120).astype(np.uint8)
    results = {
        target: cascade.loss_gradient(image, label, "ce", "fused", target=target)
        for target in ("coarse", "fine", "c2f")
    }
    coarse = cascade.coarse.loss_gradient(image, label, "ce", "fused")
    box = cascade.predict(image).box
    fine = cascade.fine.loss_gradient(np.ascontiguousarray(image[box]), label[box], "ce", "fused")
    assert results["coarse"][0] == coarse[0]
    assert np.array_equal(results["coarse"][1], coarse[1])
    assert results["fine"][0] == fine[0]
    assert np.array_equal(results["fine"][1][box], fine[1])
    outside = np.ones(image.shape, bool)
    outside[box] = False
    assert not results["fine"][1][outside].any()
    assert results["c2f"][0] == pytest.approx(coarse[0] + fine[0])
    np.testing.assert_allclose(results["c2f"][1], results["coarse"][1] + results["fine"][1], rtol=1e-6)


def test_decisive_windows_of_the_whole_are_the_leading_ones_of_the_coarse_stage(cascade, image) -> None:
    cascade = replace(cascade, margin=(5, 4, 3))
    label = (image > 100).astype(np.uint8)
    box = cascade.predict(image).box
    with counting() as whole:
        cascade.fine.loss_gradient(image[box], label[box], "dice", "fused")
    with counting() as cost:
        value, gradient = cascade.loss_gradient(image, label, "dice", "fused", "decisive")
    with counting() as coarse_cost:
        first = cascade.coarse.loss_gradient(image, label, "dice", "fused", "leading")
    with counting() as fine_cost:
        second = cascade.fine.loss_gradient(image[box], label[box], "dice", "fused", "decisive")
    assert value == pytest.approx(first[0] + second[0])
    first[1][box] += second[1]
    np.testing.assert_array_equal(gradient, first[1])
    assert cost.gradient_windows == coarse_cost.gradient_windows + fine_cost.gradient_windows
    assert fine_cost.gradient_windows < whole.gradient_windows
    alone = cascade.loss_gradient(image, label, "dice", "fused", "decisive", target="coarse")
    np.testing.assert_array_equal(alone[1], cascade.coarse.loss_gradient(image, label, "dice", "fused", "decisive")[1])


def test_nothing_to_lose_where_the_coarse_stage_sees_nothing(cascade) -> None:
    image = np.zeros((10, 9, 8), np.float32)
    value, gradient = cascade.loss_gradient(image, image, target="fine")
    assert value == 0
    assert not gradient.any()


def test_fine_stage_sees_the_statistics_of_the_whole_volume() -> None:
    from robust3d.segment.intensity import hu_window

    net = threshold(100)
    stages = [
        Segmenter.from_network(net, window=4, grid=overlap(0.5), intensity=hu_window(-100, 240)) for _ in range(2)
    ]
    with torch.no_grad():
        net.bias.copy_(torch.tensor([0.0, -10.0]))  # foreground: more than half a standard deviation above the mean
    image = np.random.default_rng(0).normal(50, 40, (12, 10, 8)).astype(np.float32)
    image[4:8, 3:6, 2:5] += 60
    prediction = CoarseToFine(coarse=stages[0], fine=stages[1], margin=(0, 0, 0)).predict(image)
    assert np.array_equal(prediction.raw[prediction.box], stages[0].predict(image).raw[prediction.box])


def test_wrong_combinations_are_refused(cascade, image) -> None:
    with pytest.raises(InputError, match="did you mean 'coarse'"):
        cascade.loss_gradient(image, image > 0, target="coars")
    with pytest.raises(InputError, match="through"):
        cascade.loss_gradient(image, image > 0, target="c2f", statistics="through")
    three = Segmenter.from_network(nn.Conv3d(1, 3, 1), window=4, grid=overlap(0.5), intensity=unit_window(0, 1))
    with pytest.raises(InputError, match="equal classes"):
        CoarseToFine(coarse=cascade.coarse, fine=three, margin=(0, 0, 0))


@pytest.mark.parametrize("target", ["fine", "c2f"])
@pytest.mark.parametrize("dtype", [torch.int16, torch.float16, torch.float32, torch.float64])
def test_the_gradient_has_the_type_of_a_volume_and_not_of_integers(cascade, image, target, dtype) -> None:
    label = (image >= 120).astype(np.uint8)
    given = torch.from_numpy(image).to(dtype).requires_grad_(dtype.is_floating_point)
    value, gradient = cascade.loss_gradient(given, label, "ce", "fused", target=target)
    expected = cascade.loss_gradient(image, label, "ce", "fused", target=target)
    assert value == pytest.approx(expected[0], rel=1e-5)
    assert gradient.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert not gradient.requires_grad
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-4, atol=1e-12)
    assert expected[1].any()
    array = given.detach().numpy()
    assert np.array_equal(cascade.loss_gradient(array, label, "ce", "fused", target=target)[1], gradient.numpy())
    empty = torch.zeros_like(given)
    assert cascade.loss_gradient(empty, label * 0, target="fine")[1].dtype == gradient.dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("target", ["coarse", "fine", "c2f"])
def test_the_gradient_is_where_the_image_is(cascade, image, target) -> None:
    label = (image >= 120).astype(np.uint8)
    expected = cascade.loss_gradient(image, label, "ce", "fused", target=target)
    for one in (cascade.coarse, cascade.fine):
        one.network.cuda()
    for given in (image, torch.from_numpy(image), torch.from_numpy(image).cuda()):
        value, gradient = cascade.loss_gradient(given, label, "ce", "fused", target=target)
        assert value == pytest.approx(expected[0], rel=1e-4)
        assert type(gradient) is type(given)
        assert getattr(gradient, "device", None) == getattr(given, "device", None)
        np.testing.assert_allclose(torch.as_tensor(gradient).cpu(), expected[1], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("loss", ["ce", "dice"])
def test_the_exact_gradient_of_both_stages_is_their_sum_and_spends_no_prediction_on_the_box(
    cascade, image, loss
) -> None:
    image = image.astype(np.float64)
    label = (image > 110).astype(np.uint8)
    values, gradients, windows = {}, {}, {}
    for target in ("coarse", "fine", "c2f"):
        with counting() as cost:
            values[target], gradients[target] = cascade.loss_gradient(image, label, loss, "fused", target=target)
        windows[target] = cost.forward_windows
    assert values["c2f"] == pytest.approx(values["coarse"] + values["fine"], rel=1e-9)
    np.testing.assert_allclose(gradients["c2f"], gradients["coarse"] + gradients["fine"], rtol=1e-9, atol=1e-15)
    with counting() as prediction:
        cascade.coarse.predict(image)
    assert windows["c2f"] == windows["coarse"] + windows["fine"] - prediction.forward_windows


def test_an_empty_coarse_prediction_leaves_the_fine_term_at_the_label(cascade, image) -> None:
    label = (image > 110).astype(np.uint8)
    lost = np.zeros_like(image)
    assert cascade.predict(lost).coarse_empty
    box = cascade.box_around(label > 0)
    value, gradient = cascade.loss_gradient(lost, label, "ce", "fused", target="fine")
    expected = cascade.fine.frozen_at(lost).loss_gradient(lost[box], label[box], "ce", "fused")
    assert value == pytest.approx(expected[0])
    np.testing.assert_allclose(gradient[box], expected[1])
    assert cascade.loss_gradient(lost, label * 0, "ce", "fused", target="fine")[0] == 0


@pytest.mark.parametrize("fusion", ["probabilities", "logits", "vote"])
@pytest.mark.parametrize(
    ("mode", "windows", "shared"),
    [("fused", "all", True), ("window_mean", "all", True), ("window_mean", "skip_background", False)],
)
def test_gradient_and_prediction_of_one_pass_are_those_of_two(image, fusion, mode, windows, shared) -> None:
    net = nn.Conv3d(1, 2, 3, padding=1)
    with torch.no_grad():
        net.weight.normal_(generator=torch.Generator().manual_seed(0))
        net.bias.zero_()
    segmenter = Segmenter.from_network(
        net, window=8, grid=overlap(0.5), intensity=unit_window(-100, 240), fusion=fusion, min_component=0.2
    )
    noisy = image + np.random.default_rng(0).normal(0, 40, image.shape).astype(np.float32)
    label = (image >= 120).astype(np.uint8)
    with counting() as cost:
        value, gradient, prediction = segmenter.gradient_and_prediction(
            noisy, label, cross_entropy, mode=mode, windows=windows
        )
    with counting() as apart:
        expected = segmenter.loss_gradient(noisy, label, "ce", mode, windows)
        predicted = segmenter.predict(noisy)
    assert value == expected[0]
    assert np.array_equal(gradient, expected[1])
    assert np.array_equal(prediction.mask, predicted.mask)
    assert np.array_equal(prediction.raw, predicted.raw)
    assert 0 < predicted.raw.mean() < 1
    shared = shared and (mode, fusion) != ("fused", "vote")
    windows_of_a_prediction = len(segmenter.grid.corners(image.shape, segmenter.window))
    assert apart.forward_windows - cost.forward_windows == (windows_of_a_prediction if shared else 0)
    assert apart.gradient_windows == cost.gradient_windows


def test_nothing_outside_the_box_is_computed_by_the_fine_stage(cascade, image) -> None:
    label = (image >= 120).astype(np.uint8)
    box = cascade.predict(image).box
    inside = len(cascade.fine.grid.corners(tuple(part.stop - part.start for part in box), cascade.fine.window))
    coarse = len(cascade.coarse.grid.corners(image.shape, cascade.coarse.window))
    for target, gradients in (("coarse", coarse), ("fine", inside), ("c2f", coarse + inside)):
        for mode in ("window_mean", "fused"):
            with counting() as cost:
                cascade.loss_gradient(image, label, "ce", mode, target=target)
            assert cost.gradient_windows == gradients, (target, mode)
    with counting() as cost:
        cascade.predict(image)
    assert cost.forward_windows == coarse + inside
    # What lies outside the box cannot matter to the fine stage, by its windows or by statistics.
    elsewhere = image.copy()
    elsewhere[15:, 12:, :2] = 130
    assert cascade.predict(elsewhere).box == box
    here, there = (cascade.loss_gradient(one, label, "ce", "fused", target="fine")[1] for one in (image, elsewhere))
    assert np.array_equal(here, there)
