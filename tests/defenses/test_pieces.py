# SPDX-License-Identifier: Apache-2.0
"""Sampling, adversary, loss and schedule of training, each alone."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from robust3d.defenses.ascent import perturb
from robust3d.defenses.draws import Draws
from robust3d.defenses.learner import supervised_loss
from robust3d.defenses.sampling import WindowSampler, _turn
from robust3d.foundation.errors import InputError
from robust3d.networks.resdsn import ResDSN
from robust3d.segment.intensity import hu_window
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume
from tests.defenses.conftest import adversary_section


def test_windows_are_a_function_of_the_key(cases, make_recipe) -> None:
    sampler = WindowSampler(cases, make_recipe().coarse, hu_window(-100, 240))
    first, again, other = (sampler.draw(4, *key) for key in ((1, 2), (1, 2), (1, 3)))
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)


def test_windows_hold_the_truncated_case_and_its_statistics(cases, make_recipe) -> None:
    stage = make_recipe(augmentation=0.0).coarse
    batch = WindowSampler(cases[:1], stage, hu_window(-100, 240)).draw(3, 0)
    truncated = np.clip(cases[0].image, -100, 240)
    assert float(batch.offset[0]) == pytest.approx(truncated.mean(), rel=1e-5)
    assert float(batch.scale[0]) == pytest.approx(truncated.std(), rel=1e-5)
    places = np.lib.stride_tricks.sliding_window_view(truncated, (16, 16, 16))
    for window, label in zip(batch.image[:, 0].numpy(), batch.label.numpy(), strict=True):
        (corner,) = np.argwhere((places == window).all(axis=(3, 4, 5)))
        place = tuple(slice(c, c + 16) for c in corner)
        assert np.array_equal(label, cases[0].label[place])


def test_foreground_sampling_stays_over_the_bounding_box(cases, make_recipe) -> None:
    stage = make_recipe(sampling="foreground", centred=0.0, window=8, augmentation=0.0).coarse
    batch = WindowSampler(cases, stage, hu_window(-100, 240)).draw(64, 0)
    assert (batch.label.flatten(1).sum(1) > 0).float().mean() > 0.9


def test_centred_windows_hold_foreground(cases, make_recipe) -> None:
    stage = make_recipe(centred=1.0, window=8).coarse
    batch = WindowSampler(cases, stage, hu_window(-100, 240)).draw(32, 0)
    assert (batch.label.flatten(1).sum(1) > 0).all()


def test_augmentation_gives_all_48_symmetries_of_the_cube_alike_to_image_and_label() -> None:
    image = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(2000):
        turned, label = _turn(image, image.astype(np.uint8), random)
        assert np.array_equal(turned, label)
        seen.add(tuple(turned.ravel().tolist()))
    expected = set()
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            moved = np.flip(image.transpose(axes), [axis for axis in range(3) if flips[axis]])
            expected.add(tuple(moved.ravel().tolist()))
    assert seen == expected
    assert len(seen) == 48


def test_a_case_without_foreground_is_refused(cases, make_recipe) -> None:
    empty = Volume(cases[0].image, np.zeros_like(cases[0].label), np.eye(4), (1, 1, 1), "empty")
    with pytest.raises(InputError, match="case empty has an empty label"):
        WindowSampler([empty], make_recipe().coarse, hu_window(-100, 240))


def test_the_adversary_raises_the_loss_within_its_ball(cases, make_recipe) -> None:
    torch.manual_seed(0)
    net = ResDSN(width=2).eval().requires_grad_(False)
    batch = WindowSampler(cases, make_recipe().coarse, hu_window(-100, 240)).draw(2, 0).to(torch.device("cpu"))
    threat = ThreatModel(epsilon=10.2, unit="HU", valid=(-100, 240))
    made = [
        perturb(net, batch, threat, steps=5, step_size=3.4, draws=Draws(torch.Generator().manual_seed(seed)))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert float((made[0] - batch.image).abs().max()) <= 10.2 + 1e-4
    assert made[0].min() >= -100
    assert made[0].max() <= 240
    losses = [float(cross_entropy(net(batch.normalised(image)), batch.label)) for image in (batch.image, made[0])]
    assert losses[1] > losses[0]


def test_zero_steps_leave_the_uniform_start(cases, make_recipe) -> None:
    batch = WindowSampler(cases, make_recipe().coarse, hu_window(-100, 240)).draw(4, 0)
    threat = ThreatModel(epsilon=10.2, unit="HU")
    start = perturb(nn.Identity(), batch, threat, steps=0, step_size=0.0, draws=Draws(torch.Generator().manual_seed(0)))
    moved = ((start - batch.image) / 10.2).flatten().numpy()
    # Uniform on [-1, 1]: mean 0, variance 1/3.
    assert abs(moved.mean()) < 0.02
    assert moved.var() == pytest.approx(1 / 3, abs=0.02)


def test_epsilon_grows_over_the_warm_up(make_recipe) -> None:
    adversary = make_recipe(adversary=True).adversary
    values = [adversary.strength(iteration, 100) for iteration in range(100)]
    assert values[0] == pytest.approx(1 / 30)
    assert values[14] == pytest.approx(0.5)
    assert values[29:] == [1.0] * 71


def test_a_clean_start_comes_before_the_warm_up(make_recipe) -> None:
    for warmup, ramp in ((0.3, [(k + 1) / 30 for k in range(30)]), (0.0, [])):
        adversary = make_recipe(adversary=adversary_section("pgd", clean_start=0.25, warmup=warmup)).adversary
        values = [adversary.strength(iteration, 100) for iteration in range(100)]
        assert values == pytest.approx([0.0] * 25 + ramp + [1.0] * (75 - len(ramp)))


def test_equation_3_weighs_the_auxiliary_heads() -> None:
    torch.manual_seed(0)
    net = ResDSN(width=2)
    windows, label = torch.randn(2, 1, 16, 16, 16), torch.randint(0, 2, (2, 16, 16, 16))
    net.eval()
    main, one, two = (cross_entropy(logits, label) for logits in net.forward_supervised(windows))
    found = supervised_loss(net, windows, label, (0.2, 0.4))
    torch.testing.assert_close(found, main + 0.2 * one + 0.4 * two)
