# SPDX-License-Identifier: Apache-2.0
"""Models on a grid of their own: gradients by finite differences, geometry by nibabel, regions by the rule."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import io_orientation
from torch import nn

import robust3d as r3
from robust3d.foundation.errors import InputError
from robust3d.segment.averaging import Mirrored, NetworkMean
from robust3d.segment.grid import step
from robust3d.segment.intensity import Intensity
from robust3d.segment.model_grid import ModelGrid
from robust3d.segment.regions import WithBackground, class_scores
from robust3d.segment.resample import Resampling, nearest_labels
from robust3d.segment.resampled import Resampled
from robust3d.segment.segmenter import Segmenter
from robust3d.volume.volume import Volume

LINEAR = Resampling(order=1)
CUBIC = ModelGrid(spacing=(1.6, 1.0, 1.3), axes=(2, 0, 1), intensity=Intensity(-300, 400))
GRIDS = {
    "cubic": CUBIC,
    "fixed": replace(CUBIC, intensity=Intensity(-300, 400, 20, 90), image=LINEAR),
    # The range that a spline is clipped to counts as constant, and so would not follow the statistics of each case.
    "thick slices": replace(CUBIC, spacing=(4.0, 1.0, 1.2), intensity=Intensity(-300, 400, 20, 90)),
    "masked": replace(CUBIC, masked=True),
    "canonical": replace(CUBIC, canonical=True, crop=False),
}


@pytest.fixture
def case() -> Volume:
    random = np.random.default_rng(1)
    image = random.normal(40, 60, (10, 9, 8)).astype(np.float32)
    image[:2] = 0
    affine = np.array([[0, 1.4, 0, 2], [0, 0, -2.2, 0], [-1.1, 0, 0, 0], [0, 0, 0, 1.0]])
    label = (image > 60).astype(np.uint8) + (image > 100)
    return Volume(image=image, label=label, affine=affine, spacing=(1.1, 1.4, 2.2), name="a")


def pipeline(net: nn.Module, grid: ModelGrid, *, window: int = 6, regions: tuple[int, ...] = ()) -> Resampled:
    plain = Intensity(offset=0, scale=1, fill=0)
    options = {"window": window, "grid": step(0.5), "intensity": plain, "fusion": "logits", "weighting": "nnunet"}
    return Resampled(model=Segmenter.from_network(net, **options), grid=grid, regions=regions)


def slope(model: Resampled, case: Volume, **options: str) -> tuple[float, float]:
    """The derivative along a random direction: by the gradient, and by finite differences."""
    image = case.image.astype(np.float64)
    direction = np.random.default_rng(2).normal(size=image.shape)
    # What is 0 decides the box and the mask, and what is extreme in a slice the range of the spline.
    direction[image == 0] = 0
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        for extreme in (image.min(others, keepdims=True), image.max(others, keepdims=True)):
            direction[image == extreme] = 0
    _, gradient = model.loss_gradient(image, case.label, "ce", **options)
    up, down = (model.loss_gradient(image + h * direction, case.label, "ce", **options)[0] for h in (1e-4, -1e-4))
    return float((gradient * direction).sum()), (up - down) / 2e-4


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("statistics", ["through", "frozen"])
def test_the_fused_gradient_is_exact(make_net, case, name, statistics) -> None:
    model = pipeline(make_net(3), GRIDS[name]).place(case)
    if statistics == "frozen":
        model = model.frozen_at(case.image.astype(np.float64))
    by_gradient, by_difference = slope(model, case, mode="fused", statistics=statistics)
    assert by_gradient == pytest.approx(by_difference, rel=1e-5)
    assert by_gradient != 0


def test_the_gradient_of_regions_is_exact(make_net, case) -> None:
    model = pipeline(WithBackground(make_net(2)), CUBIC, regions=(2, 1)).place(case)
    by_gradient, by_difference = slope(model, case, mode="fused", statistics="through")
    assert by_gradient == pytest.approx(by_difference, rel=1e-5)


@pytest.mark.parametrize("regions", [(), (1, 2)])
def test_the_window_gradient_is_exact_in_one_window(make_net, case, regions) -> None:
    net = WithBackground(make_net(2)) if regions else make_net(3)
    model = pipeline(net, GRIDS["masked"], window=24, regions=regions).place(case)
    by_gradient, by_difference = slope(model, case, mode="window_mean", statistics="through")
    assert by_gradient == pytest.approx(by_difference, rel=1e-5)


def test_a_volume_that_lies_on_the_grid_goes_through_as_it_is(make_net, case) -> None:
    grid = ModelGrid(spacing=case.spacing, axes=(0, 1, 2), intensity=Intensity(offset=5, scale=50), crop=False)
    model = pipeline(make_net(3, torch.float32), grid).place(case)
    plain = replace(model.model, intensity=Intensity(offset=5, scale=50, fill=0))
    np.testing.assert_array_equal(model.predict(case.image).mask, plain.predict(case.image).mask)
    for mode in ("fused", "window_mean"):
        value, gradient = model.loss_gradient(case.image, case.label, "dice", mode)
        expected_value, expected = plain.loss_gradient(case.image, case.label, "dice", mode)
        assert value == pytest.approx(expected_value, rel=1e-6)
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-9)


def test_turning_to_ras_is_that_of_nibabel(case) -> None:
    placement = replace(CUBIC, canonical=True, axes=(0, 1, 2)).place(case)
    image = nib.Nifti1Image(case.image, case.affine)
    expected = image.as_reoriented(io_orientation(case.affine))
    turned = placement.turn(torch.from_numpy(case.image))
    np.testing.assert_array_equal(turned.numpy(), np.asarray(expected.dataobj))
    assert placement.spacing == pytest.approx(expected.header.get_zooms())
    np.testing.assert_array_equal(placement.back(turned).numpy(), case.image)


def test_outside_the_box_is_background_and_has_no_gradient(make_net, case) -> None:
    model = pipeline(make_net(3, torch.float32), CUBIC).place(case)
    assert not model.predict(case.image).mask[:2].any()
    _, gradient = model.loss_gradient(case.image, case.label, "ce", "fused")
    assert not gradient[:2].any()
    assert (gradient[2:] != 0).mean() > 0.9


def test_an_array_does_not_tell_its_spacing(make_net, case) -> None:
    with pytest.raises(InputError, match=r"resamples volumes to 1.6 x 1 x 1.3 mm .*model.place\(case\)"):
        pipeline(make_net(3), CUBIC).predict(case.image)


def test_nothing_but_zeros_is_refused(make_net, case) -> None:
    with pytest.raises(InputError, match="all voxels of the volume are 0"):
        pipeline(make_net(3), CUBIC).place(case).predict(np.zeros_like(case.image))


def test_one_placed_model_serves_a_case(make_net, case) -> None:
    model = pipeline(make_net(3), CUBIC)
    assert model.place(case) is model.place(replace(case, name="b"))
    assert model.place(case).place(case) is model.place(case)
    other = replace(case, spacing=(1.0, 1.0, 1.0))
    assert model.place(other).placement.spacing == (1.0, 1.0, 1.0)
    assert model.place(case).settings() == model.settings()


def test_attacks_raise_the_loss_on_the_volumes_own_grid(make_net, case) -> None:
    model = pipeline(make_net(3, torch.float32), CUBIC)
    threat = r3.ThreatModel(norm="linf", epsilon=10.0, unit="HU")
    found = r3.load_attack("ifgsm")(model, case, threat, seed=0).volume
    assert np.abs(found.image - case.image).max() == pytest.approx(10, abs=1e-3)
    placed = model.place(case)
    clean, attacked = (placed.loss_gradient(one, case.label, "ce")[0] for one in (case.image, found.image))
    assert attacked > clean


@given(st.permutations([1, 2, 3]), st.integers(0, 1000))
def test_the_last_region_above_a_half_wins(order, seed) -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(seed))
    expected = torch.zeros(50, dtype=torch.long)
    for logit, target in zip(logits, order, strict=True):
        expected[torch.sigmoid(logit) > 0.5] = target
    scores = class_scores(torch.cat([torch.zeros(1, 50), logits]), order, dim=0)
    assert torch.equal(scores.argmax(0), expected)
    assert ((scores > 0).sum(0) == 1).all()


def test_nearest_labels_are_those_of_voxel_centres() -> None:
    label = torch.tensor([1, 2, 3, 4, 255], dtype=torch.uint8).view(5, 1, 1)
    # Centres at 5/6, 15/6, 25/6 voxels.
    assert nearest_labels(label, (3, 1, 1)).flatten().tolist() == [1, 3, 255]
    assert nearest_labels(label, (10, 1, 1)).flatten().tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 255, 255]


def test_means_of_mirror_images_and_networks(make_net) -> None:
    first, second = make_net(2), nn.Conv3d(1, 2, 3, padding=1, dtype=torch.float64)
    windows = torch.randn(2, 1, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    flips: list[list[int]] = [[], [2], [4], [2, 4]]
    with torch.no_grad():
        expected = sum(first(windows.flip(axes)).flip(axes) for axes in flips) / 4
        torch.testing.assert_close(Mirrored(first, (0, 2))(windows), expected)
        torch.testing.assert_close(NetworkMean([first, second])(windows), (first(windows) + second(windows)) / 2)
