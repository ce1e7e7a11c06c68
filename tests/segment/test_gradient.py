# SPDX-License-Identifier: Apache-2.0
"""Whole-volume gradients against autograd through a plain sliding window, finite differences and a naive loop."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from robust3d.losses.registry import LOSSES
from robust3d.segment.grid import Grid, overlap, seed, step
from robust3d.segment.intensity import Intensity, hu_window, unit_window, zscore
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.windows import window_weights

GRIDS = [seed(2), overlap(0.5), overlap(0.3), step(0.4)]
SHAPE = (19, 13, 16)
WINDOW = (8, 6, 7)


@pytest.fixture
def case() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(SHAPE, generator=generator, dtype=torch.float64) * 500 - 180
    label = torch.zeros(SHAPE, dtype=torch.long)
    label[4:9, 3:8, 5:9] = 1
    return image, label


def plain_fused(
    net: nn.Module, image: Tensor, intensity: Intensity, grid: Grid, fusion: str, weighting: str, window: tuple
) -> Tensor:
    """Sliding window with the whole graph, written from the definitions alone."""
    fixed = intensity.frozen_at(image.detach())
    normalised = (image.clamp(fixed.low, fixed.high) - fixed.offset) / fixed.scale
    weights = window_weights(window, weighting).double()
    total, norm = 0, 0
    for corner in itertools.product(*(grid.starts(n, w) for n, w in zip(image.shape, window, strict=True))):
        place = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        logits = net(normalised[place][None, None])[0]
        output = logits.softmax(0) if fusion == "probabilities" else logits
        after = [n - c - w for n, c, w in zip(image.shape, corner, window, strict=True)]
        pads = [corner[2], after[2], corner[1], after[1], corner[0], after[0]]
        total = total + pad(output * weights, pads)
        norm = norm + pad(weights, pads)
    fused = total / norm
    return fused.log() if fusion == "probabilities" else fused


@pytest.mark.parametrize("loss", ["ce", "dice"])
@pytest.mark.parametrize("fusion", ["probabilities", "logits"])
@pytest.mark.parametrize("weighting", ["constant", "gaussian"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_fused_equals_full_autograd(make_net, case, grid, weighting, fusion, loss) -> None:
    image, label = case
    net = make_net()
    segmenter = Segmenter.from_network(
        net, window=WINDOW, grid=grid, intensity=hu_window(-100, 240), fusion=fusion, weighting=weighting
    )
    value, gradient = segmenter.loss_gradient(image, label, loss, "fused")
    leaf = image.clone().requires_grad_(True)
    logits = plain_fused(net, leaf, segmenter.intensity, grid, fusion, weighting, WINDOW)
    expected = LOSSES[loss](logits[None], label[None])
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), rel=1e-9)
    assert gradient.dtype == torch.float64
    error = (gradient - leaf.grad).norm() / leaf.grad.norm()
    assert error < 1e-6


@pytest.mark.parametrize("loss", ["ce", "dice"])
def test_fused_through_statistics_equals_finite_differences(make_net, case, loss) -> None:
    image, label = case
    segmenter = Segmenter.from_network(
        make_net(), window=WINDOW, grid=overlap(0.5), intensity=hu_window(-100, 240), fusion="probabilities"
    )
    _, gradient = segmenter.loss_gradient(image, label, loss, "fused", statistics="through")
    generator = torch.Generator().manual_seed(1)
    inside = (image > -99) & (image < 239)
    for _ in range(5):
        direction = torch.randn(SHAPE, generator=generator, dtype=torch.float64) * inside
        step_length = 1e-4
        values = [
            segmenter.loss_gradient(image + sign * step_length * direction, label, loss, "fused")[0] for sign in (1, -1)
        ]
        slope = (values[0] - values[1]) / (2 * step_length)
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


@pytest.mark.parametrize("intensity", [hu_window(-100, 240), zscore(), Intensity(-math.inf, 240, 20, 50)])
@pytest.mark.parametrize("shape", [(5, 13, 4), (4, 5, 6), (19, 13, 16)])
def test_through_statistics_is_exact_where_the_volume_is_padded(make_net, intensity, shape) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(shape, generator=generator, dtype=torch.float64) * 500 - 180
    label = (image > 150).long()
    segmenter = Segmenter.from_network(make_net(), window=WINDOW, grid=overlap(0.5), intensity=intensity)
    _, gradient = segmenter.loss_gradient(image, label, "ce", "fused", statistics="through")
    # The loss has a corner where truncation begins.
    inside = (image > -99) & (image < 239) if intensity.padding is not None else image < 239
    for _ in range(3):
        direction = torch.randn(shape, generator=generator, dtype=torch.float64) * inside
        direction[image == image.min()] = 3.0 if intensity.padding is None else 0.0
        step_length = 1e-4
        values = [
            segmenter.loss_gradient(image + sign * step_length * direction, label, "ce", "fused")[0] for sign in (1, -1)
        ]
        slope = (values[0] - values[1]) / (2 * step_length)
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


@pytest.mark.parametrize("fusion", ["probabilities", "vote"])
@pytest.mark.parametrize("weighting", ["constant", "gaussian"])
def test_a_class_that_underflows_in_every_window_keeps_its_gradient(make_net, case, fusion, weighting) -> None:
    image, label = case
    results = []
    for dtype in (torch.float64, torch.float32):
        net = make_net(dtype=dtype)
        with torch.no_grad():
            net[3].bias.copy_(torch.tensor([400.0, 0.0]))
        segmenter = Segmenter.from_network(
            net, window=WINDOW, grid=seed(2), intensity=hu_window(-100, 240), fusion=fusion, weighting=weighting
        )
        results.append(segmenter.loss_gradient(image.to(dtype), label, "ce", "fused"))
    # Each of the foreground voxels loses about the gap of 400.
    assert results[0][0] == pytest.approx(400 * float((label > 0).double().mean()), rel=0.1)
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-5)
    error = (results[1][1].double() - results[0][1]).norm() / results[0][1].norm()
    assert error < 1e-4


def test_frozen_statistics_are_constants(make_net, case) -> None:
    image, label = case
    segmenter = Segmenter.from_network(make_net(), window=WINDOW, grid=overlap(0.5), intensity=hu_window(-100, 240))
    frozen = segmenter.frozen_at(image)
    for mode in ("window_mean", "fused"):
        expected = frozen.loss_gradient(image, label, "ce", mode)
        found = segmenter.loss_gradient(image, label, "ce", mode)
        assert found[0] == expected[0]
        assert torch.equal(found[1], expected[1])
    _, through = segmenter.loss_gradient(image, label, "ce", "fused", statistics="through")
    assert not torch.allclose(through, expected[1], rtol=1e-3)


@pytest.mark.parametrize("windows", ["all", "skip_background"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_window_mean_equals_a_naive_loop(make_net, case, grid, windows) -> None:
    image, label = case
    net = make_net()
    segmenter = Segmenter.from_network(net, window=WINDOW, grid=grid, intensity=unit_window(-100, 240))
    value, gradient = segmenter.loss_gradient(image, label, "ce", "window_mean", windows)
    total, counts, losses = torch.zeros(SHAPE).double(), torch.zeros(SHAPE), []
    for corner in itertools.product(*(grid.starts(n, w) for n, w in zip(SHAPE, WINDOW, strict=True))):
        place = tuple(slice(c, c + w) for c, w in zip(corner, WINDOW, strict=True))
        if windows == "skip_background" and label[place].max() == 0:
            continue
        leaf = image[place].clone().requires_grad_(True)
        loss = cross_entropy(net((leaf.clamp(-100, 240)[None, None] + 100) / 340), label[place][None])
        loss.backward()
        losses.append(float(loss.detach()))
        total[place] += leaf.grad
        counts[place] += 1
    assert value == pytest.approx(np.mean(losses), rel=1e-9)
    torch.testing.assert_close(gradient, total / counts.clamp_min(1), rtol=1e-9, atol=1e-18)
    if windows == "skip_background":
        assert (counts == 0).any()
        assert gradient[counts == 0].abs().max() == 0


@pytest.mark.parametrize("mode", ["window_mean", "fused"])
@pytest.mark.parametrize("loss", ["ce", "dice"])
def test_batch_size_does_not_matter(make_net, case, mode, loss) -> None:
    image, label = case
    results = []
    for batch in (1, 3, 64):
        segmenter = Segmenter.from_network(
            make_net(), window=WINDOW, grid=seed(2), intensity=hu_window(-100, 240), window_batch=batch
        )
        results.append(segmenter.loss_gradient(image, label, loss, mode))
    for value, gradient in results[1:]:
        assert value == pytest.approx(results[0][0], rel=1e-12)
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-9, atol=1e-18)


def test_a_volume_smaller_than_the_window_is_padded_and_cropped(make_net) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((5, 9, 4), generator=generator, dtype=torch.float64) * 300 - 50
    label = torch.zeros((5, 9, 4), dtype=torch.long)
    label[2:4, 3:6, 1:3] = 1
    net = make_net()
    segmenter = Segmenter.from_network(net, window=8, grid=overlap(0.5), intensity=unit_window(-100, 240))
    _, gradient = segmenter.loss_gradient(image, label, "ce", "fused")
    leaf = image.clone().requires_grad_(True)
    # (5, 9, 4) -> (8, 9, 8), centred, filled with -100 HU.
    padded = pad(leaf, (2, 2, 0, 0, 1, 2), value=-100)
    logits = plain_fused(net, padded, segmenter.intensity, overlap(0.5), "probabilities", "constant", (8, 8, 8))
    cross_entropy(logits[:, 1:6, :, 2:6][None], label[None]).backward()
    torch.testing.assert_close(gradient, leaf.grad, rtol=1e-6, atol=1e-15)


def test_numpy_in_numpy_out(make_net, case) -> None:
    image, label = case
    segmenter = Segmenter.from_network(
        make_net(dtype=torch.float32), window=WINDOW, grid=seed(1), intensity=hu_window(-100, 240)
    )
    _, gradient = segmenter.loss_gradient(image.numpy().astype(np.float32), label.numpy())
    assert isinstance(gradient, np.ndarray)
    assert gradient.dtype == np.float32
    assert gradient.shape == SHAPE
    assert np.all(gradient[image.numpy() < -100] == 0)
