# SPDX-License-Identifier: Apache-2.0
"""Two channels: predictions and gradients against MONAI, autograd, finite differences and the one-channel engine."""

import math

import numpy as np
import pytest
import torch
from monai.data.utils import dense_patch_slices
from monai.inferers import sliding_window_inference
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robust3d.foundation.errors import InputError
from robust3d.segment.cascade import CoarseToFine
from robust3d.segment.channel_intensity import ChannelIntensity
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import Intensity, hu_window, unit_window, zscore
from robust3d.segment.model_grid import ModelGrid
from robust3d.segment.recall import predict, predict_clean
from robust3d.segment.resample import Resampling
from robust3d.segment.resampled import Resampled
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.transform import BitDepth, Smoothing
from robust3d.segment.transformed import Transformed
from robust3d.volume.volume import Volume

SHAPE = (17, 13, 16)
WINDOW = (8, 6, 7)


def make_net(channels: int = 2, classes: int = 2, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv3d(channels, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Softplus(), nn.Conv3d(4, classes, 3, padding=1)
    )
    with torch.no_grad():
        net[1].running_mean.uniform_(-0.5, 0.5)
        net[1].running_var.uniform_(0.5, 2)
        net[3].weight.mul_(4)
    return net.to(dtype).eval()


@pytest.fixture
def case() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((2, *SHAPE), generator=generator, dtype=torch.float64) * 500 - 180
    image[1] = image[1] * 3 + 1000
    label = torch.zeros(SHAPE, dtype=torch.long)
    label[4:9, 3:8, 5:9] = 1
    return image, label


def segment(net: nn.Module, intensity, **others) -> Segmenter:
    options = {"window": WINDOW, "grid": overlap(0.5), "channels": 2}
    return Segmenter.from_network(net, intensity=intensity, **options | others)


def normalised(image: Tensor) -> Tensor:
    """The z-score of each channel by itself, statistics as constants."""
    mean, std = image.detach().mean((1, 2, 3), True), image.detach().std((1, 2, 3), correction=0, keepdim=True)
    return (image - mean) / std


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
def test_fused_equals_autograd_through_monai(case, mode) -> None:
    image, label = case
    net = make_net()
    segmenter = segment(net, zscore(), fusion="logits", weighting=mode)
    leaf = image.clone().requires_grad_(True)
    # MONAI multiplies in place what the network returns.
    logits = sliding_window_inference(
        normalised(leaf)[None], WINDOW, 2, lambda one: net(one) * 1.0, overlap=0.5, mode=mode
    )
    loss = cross_entropy(logits, label[None])
    (expected,) = torch.autograd.grad(loss, leaf)
    value, gradient = segmenter.loss_gradient(image, label, "ce", "fused")
    assert gradient.shape == image.shape
    assert value == pytest.approx(float(loss.detach()), rel=1e-6)
    for channel in range(2):
        assert (gradient[channel] - expected[channel]).norm() / expected[channel].norm() < 1e-6
    assert np.array_equal(segmenter.predict(image).mask, logits[0].argmax(0).numpy())


def test_window_mean_equals_autograd_of_monais_windows(case) -> None:
    image, label = case
    net = make_net()
    value, gradient = segment(net, zscore()).loss_gradient(image, label, "ce", "window_mean")
    leaf = image.clone().requires_grad_(True)
    ready, losses, count = normalised(leaf), [], torch.zeros(SHAPE)
    for place in dense_patch_slices(SHAPE, WINDOW, tuple(max(1, edge // 2) for edge in WINDOW)):
        losses.append(cross_entropy(net(ready[(slice(None), *place)][None]), label[place][None]))
        count[place] += 1
    (expected,) = torch.autograd.grad(sum(losses), leaf)
    expected = expected / count
    assert value == pytest.approx(float(sum(losses).detach()) / len(losses), rel=1e-9)
    assert (gradient - expected).norm() / expected.norm() < 1e-6


MIXED = ChannelIntensity((hu_window(-100, 240), Intensity(-math.inf, 2000, 900, 300)))


@pytest.mark.parametrize("intensity", [zscore(), MIXED])
@pytest.mark.parametrize("shape", [SHAPE, (5, 13, 4)])
def test_through_statistics_equals_finite_differences(intensity, shape) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((2, *shape), generator=generator, dtype=torch.float64) * 500 - 180
    image[1] = image[1] * 3 + 1000
    label = (image[0] > 150).long()
    segmenter = segment(make_net(), intensity)
    _, gradient = segmenter.loss_gradient(image, label, "dice", "fused", statistics="through")
    for number in range(4):
        direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
        direction[number % 2] = 0
        if intensity is MIXED:
            direction[0] *= (image[0] > -99) & (image[0] < 239)
            direction[1] *= image[1] < 1999
        values = [segmenter.loss_gradient(image + way * 1e-4 * direction, label, "dice", "fused")[0] for way in (1, -1)]
        slope = (values[0] - values[1]) / 2e-4
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-4)


def blind(net: nn.Module) -> nn.Module:
    """Return the net of one channel as one of two that does not look at the second."""
    twin = make_net(2, net[3].out_channels, net[0].weight.dtype)
    state = net.state_dict()
    weight = torch.zeros_like(twin[0].weight)
    weight[:, :1] = state["0.weight"]
    twin.load_state_dict(state | {"0.weight": weight})
    return twin.eval()


@pytest.mark.parametrize(
    ("mode", "windows"),
    [("window_mean", one) for one in ("all", "skip_background", "tiling")]
    + [("fused", one) for one in ("all", "skip_background", "influential", "decisive", "leading")],
)
def test_a_channel_without_weights_changes_nothing(case, mode, windows) -> None:
    image, label = case
    net = make_net(1)
    plain = segment(net, zscore(), channels=1)
    twin = segment(blind(net), zscore())
    value, gradient = plain.loss_gradient(image[0], label, "ce", mode, windows)
    found, both = twin.loss_gradient(image, label, "ce", mode, windows)
    assert found == pytest.approx(value, rel=1e-9)
    torch.testing.assert_close(both[0], gradient, rtol=1e-7, atol=1e-15)
    assert both[1].abs().max() == 0
    assert np.array_equal(twin.predict(image).mask, plain.predict(image[0]).mask)


def test_batch_and_kept_graphs_do_not_matter(case) -> None:
    image, label = case
    results = [
        segment(make_net(), zscore(), window_batch=size).loss_gradient(image, label, "dice", "fused")
        for size in (1, 3, 64, None)
    ]
    for value, gradient in results[1:]:
        assert value == pytest.approx(results[0][0], rel=1e-12)
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-9, atol=1e-18)


def test_a_cascade_crops_all_channels(case) -> None:
    image, label = case
    net = make_net(1)
    intensity = zscore()

    def cascade(build, channels: int) -> CoarseToFine:
        coarse, fine = (segment(build(net), intensity, channels=channels, window=one) for one in (WINDOW, (6, 6, 6)))
        return CoarseToFine(coarse=coarse, fine=fine, margin=(1, 1, 1))

    plain, twin = cascade(lambda one: one, 1), cascade(blind, 2)
    assert twin.channels == 2
    prediction = twin.predict(image)
    assert prediction.box == plain.predict(image[0]).box
    assert np.array_equal(prediction.mask, plain.predict(image[0]).mask)
    for target in ("coarse", "fine", "c2f"):
        value, gradient = plain.loss_gradient(image[0], label, "ce", "fused", target=target)
        found, both = twin.loss_gradient(image, label, "ce", "fused", target=target)
        assert found == pytest.approx(value, rel=1e-9)
        torch.testing.assert_close(both[0], gradient, rtol=1e-7, atol=1e-15)
    with pytest.raises(InputError, match="1 channels and the fine stage 2"):
        CoarseToFine(coarse=plain.coarse, fine=twin.fine, margin=(1, 1, 1))


@pytest.mark.parametrize("masked", [False, True])
def test_a_model_on_its_own_grid(masked) -> None:
    random = np.random.default_rng(0)
    image = random.gamma(2.0, 40.0, (2, 14, 12, 10)).astype(np.float32)
    image[:, :2] = 0
    image[1, :3] = 0
    affine = np.array([[0, 0, 2.0, 0], [-1.5, 0, 0, 9], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    label = (image[0] > 110).astype(np.uint8)
    volume = Volume(image, label, affine, (1.5, 1.0, 2.0), "case")
    schemes = (zscore(), Intensity(offset=50.0, scale=20.0))
    options = {"spacing": (1.2, 1.2, 1.2), "axes": (2, 1, 0), "canonical": True, "crop": True, "masked": masked}
    # The bounds that a cubic spline is clipped to count as constants.
    options["image"] = Resampling(order=1)
    inner = segment(make_net(), Intensity(offset=0.0, scale=1.0, fill=0.0), fusion="logits")
    model = Resampled(model=inner, grid=ModelGrid(intensity=ChannelIntensity(schemes), **options)).place(volume)
    # Without its empty rim a channel alone is cropped elsewhere, so both get the first one's.
    image[1, 2] = 1e-3
    exact = torch.from_numpy(image).double()
    seen = model.on_grid(image)
    for number, scheme in enumerate(schemes):
        single = segment(make_net(1), zscore(), channels=1)
        alone = Resampled(model=single, grid=ModelGrid(intensity=scheme, **options)).place(volume)
        torch.testing.assert_close(seen[number], alone.on_grid(image[number]))
    _, gradient = model.loss_gradient(exact, label, "ce", "fused")
    frozen = model.frozen_at(exact)
    for channel in range(2):
        direction = torch.zeros_like(exact)
        direction[channel] = torch.from_numpy(random.normal(size=label.shape)) * (exact[channel] != 0)
        values = [frozen.loss_gradient(exact + way * 1e-4 * direction, label, "ce", "fused")[0] for way in (1, -1)]
        assert (values[0] - values[1]) / 2e-4 == pytest.approx(float((gradient * direction).sum()), rel=1e-3)
    assert model.predict(image).mask.shape == label.shape


@pytest.mark.parametrize("transform", [Smoothing(0.8, -100, 240), BitDepth(4, -100, 240)])
def test_an_input_transform_works_on_each_channel(case, transform) -> None:
    image, label = case
    for channel in range(2):
        assert torch.equal(transform(image)[channel], transform(image[channel]))
    pipeline = Transformed(segment(make_net(), unit_window(-100, 240)), transform)
    assert pipeline.channels == 2
    _, gradient = pipeline.loss_gradient(image, label, "ce", "fused")
    assert gradient.shape == image.shape


def test_the_clean_prediction_is_kept_by_all_channels(case) -> None:
    image, _ = case
    pipeline = segment(make_net(), unit_window(-100, 240))
    first = predict_clean(pipeline, image)
    assert predict(pipeline, image) is first
    other = image.clone()
    other[1, 8, 6, 8] = 0.5
    assert predict(pipeline, other) is not first


def test_another_number_of_channels_is_refused_with_both() -> None:
    two, one = torch.rand((2, *SHAPE)), torch.rand(SHAPE)
    net = make_net(dtype=torch.float32)
    with pytest.raises(InputError, match="the model takes 2 channels and the volume has 1;"):
        segment(net, zscore()).predict(one)
    with pytest.raises(InputError, match="the model takes 1 channel and the volume has 2;"):
        segment(make_net(1, dtype=torch.float32), zscore(), channels=1).predict(two)
    with pytest.raises(InputError, match=r"it must take 1 channel \(channels = N says how many\)"):
        segment(net, zscore(), channels=1)
    with pytest.raises(InputError, match="scheme has 2 channels and the model takes 3"):
        segment(make_net(3, dtype=torch.float32), MIXED, channels=3)
    with pytest.raises(InputError, match="channel 1: all voxels are 0"):
        segment(net, zscore()).predict(torch.stack([one, torch.zeros(SHAPE)]))


def test_one_channel_is_told_as_before() -> None:
    settings = segment(make_net(1, dtype=torch.float32), zscore(), channels=1).settings()
    assert "channels" not in settings
    assert settings["intensity"] == {"low": None, "high": None, "offset": None, "scale": None}
    several = segment(make_net(dtype=torch.float32), zscore()).settings()
    assert several["channels"] == 2
    assert several["intensity"] == {"channels": [settings["intensity"]] * 2}
