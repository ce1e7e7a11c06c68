# SPDX-License-Identifier: Apache-2.0
"""Threat models of several channels: bounds and ranges of each, norms over all, and what one channel still is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from robust3d.benchmarks.card import ThreatCard
from robust3d.foundation.cards import check_card
from robust3d.foundation.errors import InputError
from robust3d.threat.model import ThreatModel

SHAPE = (3, 5, 4, 6)
VALIDS = ((-100, 240), (0, 2000), (0, 1))


def volumes(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randn(SHAPE, generator=generator) * torch.tensor([100.0, 700, 0.5]).view(3, 1, 1, 1)
    return clean, clean + 50 * torch.randn(SHAPE, generator=generator)


epsilons = st.lists(st.one_of(st.just(0.0), st.floats(0.01, 300)), min_size=3, max_size=3).filter(any)


@settings(max_examples=40, deadline=None)
@given(epsilons, st.integers(0, 5), st.booleans())
def test_each_channel_keeps_to_its_own_epsilon_and_range(bounds, seed, ranged) -> None:
    threat = ThreatModel.build(epsilon=bounds, unit="intensity", valid=VALIDS if ranged else None)
    clean, candidate = volumes(seed)
    moved = threat.project(candidate, clean)
    for number, bound in enumerate(bounds):
        low, high = VALIDS[number] if ranged else (-np.inf, np.inf)
        origin = clean[number].clamp(low, high)
        # Voxel by voxel the nearest allowed value, as for one channel.
        alone = ThreatModel(epsilon=bound, unit="intensity", valid=VALIDS[number] if ranged else None)
        torch.testing.assert_close(moved[number], alone.project(candidate[number], clean[number]), rtol=1e-6, atol=1e-6)
        if bound == 0:
            assert torch.equal(moved[number], origin)
    ratios = [
        float((moved - threat.origin(clean))[number].double().abs().max()) / bound
        for number, bound in enumerate(bounds)
        if bound
    ]
    assert threat.verify(moved, clean) == pytest.approx(max(ratios) * max(bounds), rel=1e-6)


@pytest.mark.parametrize("bounds", [None, (4.0, 1.0, 0.0)])
def test_l2_is_over_the_voxels_of_all_channels_that_may_change(bounds) -> None:
    epsilon = 4.0
    threat = ThreatModel.build(epsilon=bounds or epsilon, unit="RMS intensity", norm="l2")
    clean, candidate = volumes()
    moved = threat.project(candidate, clean)
    change = (moved - clean).double().numpy()
    if bounds is None:
        expected = np.sqrt(np.mean(change**2))
    else:
        assert not change[2].any()
        expected = np.sqrt(np.mean(np.concatenate([change[0], change[1] / 0.25]) ** 2))
    assert expected == pytest.approx(epsilon, rel=1e-5)
    assert threat.verify(moved, clean) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match="exceeds epsilon 4 RMS intensity"):
        threat.verify(clean + 1.01 * (moved - clean), clean)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("bounds", [(4.0, 4.0, 4.0), (4.0, 1.0, 0.0), (0.5, 4.0, 2.0)])
def test_steepest_ascent_gains_most_of_all_directions_of_norm_one(norm, bounds) -> None:
    threat = ThreatModel.build(epsilon=bounds, unit="intensity" if norm == "linf" else "RMS intensity", norm=norm)
    generator = torch.Generator().manual_seed(0)
    gradient, zero = torch.randn(SHAPE, generator=generator), torch.zeros(SHAPE)
    steepest = threat.steepest(gradient)
    assert threat.distance(steepest, zero) == pytest.approx(1, rel=1e-5)
    best = float((steepest * gradient).sum())
    for _ in range(20):
        other = threat.weigh(torch.randn(SHAPE, generator=generator) + gradient.sign())
        other = other / threat.distance(other, zero)
        assert float((other * gradient).sum()) <= best * (1 + 1e-6)
    noise = threat.noise(zero, generator)
    assert 0.9 * threat.epsilon < threat.distance(noise, zero) <= threat.epsilon * (1 + 1e-5)
    for number, bound in enumerate(bounds):
        assert bool(noise[number].any()) == (bound > 0)


def test_an_equal_epsilon_for_each_is_that_of_all() -> None:
    clean, candidate = volumes()
    for norm, unit in (("linf", "HU"), ("l2", "RMS HU")):
        one = ThreatModel(norm=norm, epsilon=10.2, unit=unit, valid=(-100, 240))
        three = ThreatModel.build(norm=norm, epsilon=[10.2] * 3, unit=unit, valid=[(-100, 240)] * 3)
        torch.testing.assert_close(one.project(candidate, clean), three.project(candidate, clean))
        torch.testing.assert_close(one.steepest(candidate), three.steepest(candidate))
        assert one.distance(candidate, clean) == pytest.approx(three.distance(candidate, clean))


def test_whole_numbers_for_every_channel() -> None:
    threat = ThreatModel.build(epsilon=(10.7, 3.2, 0.9), unit="HU", storage="int16")
    clean, candidate = (one.round() for one in volumes())
    moved = threat.project(candidate + 0.4, clean)
    assert torch.equal(moved, moved.round())
    assert threat.changes_by_channel(moved, clean) == [10, 3, 0]
    threat.check_clean(clean)
    with pytest.raises(InputError, match=r"epsilon 0 HU may reach none"):
        ThreatModel.build(epsilon=(10.7, 0, 0.9), unit="HU", storage="int16").check_clean(clean + 0.25)


def test_changes_beyond_a_channel_are_named() -> None:
    threat = ThreatModel.build(epsilon=(10, 2, 0), unit="intensity", valid=[(-9999, 9999)] * 3)
    clean, _ = volumes()
    for number, change in ((0, 10.1), (1, 2.1), (2, 0.5)):
        moved = clean.clone()
        moved[number, 1, 2, 3] += change
        with pytest.raises(InputError, match=rf"channel {number} is changed by up to {change}|exceeds epsilon"):
            threat.verify(moved, clean)
    moved = clean.clone()
    moved[2] += 1
    with pytest.raises(InputError, match="channel 2 is changed by up to 1"):
        threat.verify(moved, clean, bounded=False)
    moved[0] += 500
    assert torch.equal(threat.leave_untouched(moved, clean)[2], clean[2])
    threat.verify(threat.leave_untouched(moved, clean), clean, bounded=False)
    with pytest.raises(InputError, match=r"leave the valid range \[0, 1\]"):
        ThreatModel.build(epsilon=9, unit="intensity", valid=[(-9999, 9999), (-9999, 9999), (0, 1)]).verify(
            clean + torch.tensor([0.0, 0, 5]).view(3, 1, 1, 1), clean
        )


def test_another_epsilon_keeps_the_proportions() -> None:
    threat = ThreatModel.build(epsilon=(3.0, 0.1, 0.0), unit="intensity")
    assert threat.epsilon == 3
    assert replace(threat, epsilon=1.5).epsilons == pytest.approx((1.5, 0.05, 0))
    assert replace(threat, epsilon=0).epsilons == (0, 0, 0)
    assert str(threat) == "linf epsilon 3, 0.1, 0 intensity a voxel, float32"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epsilon": [3.0, -1.0]}, "greater than or equal"),
        ({"epsilon": [3.0, 1.0], "valid": [[0, 1]] * 3}, "2 epsilons and 3 valid ranges"),
        ({"epsilon": 3.0, "valid": [[0, 1], [1, 0]]}, "is empty"),
        ({"epsilon": 3.0, "valid": [0, 1, 2]}, "valid"),
    ],
)
def test_wrong_cards(content, message) -> None:
    with pytest.raises(InputError, match=message):
        check_card({"unit": "intensity"} | content, ThreatCard, where="card").build()


def test_a_card_and_its_record_are_the_same() -> None:
    for content in (
        {"epsilon": 10.2, "unit": "HU", "valid": [-100.0, 240.0]},
        {"epsilon": [3.0, 0.1, 0.0], "unit": "intensity", "valid": [[0.0, 9.0], [1.0, 2.0], [0.0, 1.0]]},
        {"epsilon": [3.0, 0.1], "unit": "RMS % of range", "norm": "l2", "valid": [0.0, 100.0]},
    ):
        threat = check_card(content, ThreatCard, where="card").build()
        assert {key: threat.settings()[key] for key in content} == content
        assert check_card(threat.settings(), ThreatCard, where="record").build() == threat
    assert check_card({"epsilon": [3.0], "unit": "HU"}, ThreatCard, where="card").build() == ThreatModel(
        epsilon=3, unit="HU"
    )


def test_the_number_of_channels_must_fit() -> None:
    clean, candidate = volumes()
    with pytest.raises(InputError, match="2 values are given, one a channel, and the volume has 3 channels"):
        ThreatModel.build(epsilon=(1, 2), unit="HU").project(candidate, clean)
    with pytest.raises(InputError, match="and the volume has 1 channels"):
        ThreatModel.build(epsilon=(1, 2), unit="HU").project(candidate[0], clean[0])
