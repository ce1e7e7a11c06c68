# SPDX-License-Identifier: Apache-2.0
"""Square Attack: its budget, its schedule, and that only a mask guides it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robust3d.attacks import square
from robust3d.attacks.cards import load_attack
from robust3d.attacks.controls import RandomSign
from robust3d.attacks.square import Square, changed_share, cube_edges
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import dsc
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import hu_window
from robust3d.segment.segmenter import Segmenter
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume

THREAT = ThreatModel(norm="linf", epsilon=10.7, unit="HU", valid=(-100, 240))


class Counting:
    """Pipeline that counts its predictions and refuses gradients."""

    def __init__(self, inner) -> None:
        self.inner, self.seen = inner, []

    def predict(self, image):
        prediction = self.inner.predict(image)
        self.seen.append((image.numpy().copy(), prediction.mask))
        return prediction

    def loss_gradient(self, *args, **options):
        raise AssertionError("a black box has no gradient")

    def frozen_at(self, image):
        return self

    def __getattr__(self, name):
        return getattr(self.inner, name)


@pytest.fixture
def above_70() -> Segmenter:
    """Foreground where a voxel is above 70 HU."""
    net = nn.Conv3d(1, 2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1, 1))
        net.bias.zero_()
    return Segmenter.from_network(net, window=4, grid=overlap(0.5), intensity=hu_window(-100, 240))


@pytest.mark.parametrize("queries", [1, 2, 30])
def test_queries_are_counted_and_never_exceeded(segmenter, volume, queries) -> None:
    counting = Counting(segmenter)
    adversarial = Square(name="s", queries=queries)(counting, volume, THREAT)
    assert adversarial.queries == len(counting.seen) <= queries
    assert adversarial.queries >= min(queries, 2)
    assert (adversarial.gradients, adversarial.trace) == (0, ())


def test_result_is_the_lowest_dsc_that_was_seen_and_ties_move_on(segmenter, volume) -> None:
    counting = Counting(segmenter)
    adversarial = Square(name="s", queries=40)(counting, volume, THREAT)
    scores = [dsc(mask, volume.label) for _, mask in counting.seen]
    assert adversarial.details["start_dsc"] == scores[0]
    assert adversarial.details["dsc"] == min(scores) < scores[0]
    # Of equal scores the last was accepted.
    last = max(place for place, score in enumerate(scores) if score == min(scores))
    assert np.array_equal(adversarial.volume.image, counting.seen[last][0])
    best = np.minimum.accumulate(scores)
    assert adversarial.details["accepted"] == sum(new <= old for new, old in zip(scores[1:], best[:-1], strict=True))


def test_start_has_columns_along_the_third_axis(segmenter, volume) -> None:
    inside = replace(volume, image=volume.image.clip(-80, 220))
    change = Square(name="s", queries=1)(segmenter, inside, THREAT).volume.image - inside.image
    np.testing.assert_allclose(np.abs(change), 10.7, atol=1e-4)
    np.testing.assert_allclose(change, np.repeat(change[:, :, :1], volume.shape[2], axis=2), atol=1e-4)
    up = change[:, :, 0] > 0
    assert 0.4 < up.mean() < 0.6
    assert all(0.1 < share < 0.9 for axis in (0, 1) for share in up.mean(axis))


def test_each_step_changes_one_cube_to_plus_or_minus_epsilon(segmenter, volume) -> None:
    inside = replace(volume, image=volume.image.clip(-80, 220))
    counting = Counting(segmenter)
    Square(name="s", queries=20, p_init=0.1)(counting, inside, THREAT)
    seen = [image for image, _ in counting.seen]
    # Of a voxel inside the range one sign is always new, so no query is left out.
    assert len(seen) == 20
    best, scores = seen[0], [dsc(mask, volume.label) for _, mask in counting.seen]
    lowest = scores[0]
    for number, (image, score) in enumerate(zip(seen[1:], scores[1:], strict=True), start=1):
        edges = cube_edges(changed_share(number, 20, 0.1), volume.shape)
        where = np.argwhere(image != best)
        assert len(where) > 0
        assert (np.ptp(where, axis=0) < edges).all()
        change = (image - inside.image)[tuple(where.T)]
        assert len(np.unique(np.sign(change))) == 1
        if score <= lowest:
            best, lowest = image, score
    np.testing.assert_allclose(np.abs(np.stack(seen) - inside.image), 10.7, atol=1e-4)


def test_a_threshold_model_falls_to_it_and_more_queries_help(above_70) -> None:
    """The best change is known: all foreground down, all background up."""
    random = np.random.default_rng(3)
    image = random.uniform(62, 78, (10, 9, 8)).astype(np.float32)
    label = above_70.predict(image).mask
    case = Volume(image=image, label=label, affine=np.eye(4), spacing=(1, 1, 1), name="threshold")
    few, many = (Square(name="s", queries=queries)(above_70, case, THREAT).details["dsc"] for queries in (10, 200))
    noise = RandomSign(name="n")(above_70, case, THREAT).volume.image
    assert many < few
    assert many < dsc(above_70.predict(noise).mask, label) - 0.1


def test_search_ends_at_dsc_zero(above_70) -> None:
    # A mask of one value cannot be right where the label is the other.
    image = np.full((8, 8, 8), 0, np.float32)
    label = np.ones(image.shape, np.uint8)
    image[0] = -100
    case = Volume(image=image, label=label, affine=np.eye(4), spacing=(1, 1, 1), name="wrong")

    class Empty(Counting):
        def predict(self, image):
            prediction = super().predict(image)
            return replace(prediction, mask=np.zeros_like(prediction.mask))

    adversarial = Square(name="s", queries=50)(Empty(above_70), case, THREAT)
    assert adversarial.queries == 1
    assert adversarial.details == {"start_dsc": 0.0, "dsc": 0.0, "accepted": 0}


def test_schedule_is_that_of_torchattacks() -> None:
    torchattacks = pytest.importorskip("torchattacks")
    for queries in (100, 1000, 5000):
        theirs = torchattacks.Square(nn.Identity(), n_queries=queries, p_init=0.8)
        for number in range(1, queries, max(1, queries // 100)):
            assert changed_share(number, queries, 0.8) == theirs.p_selection(number)


def test_cube_edges() -> None:
    assert cube_edges(0.125, (8, 8, 8)) == (4, 4, 4)
    assert cube_edges(0.5, (20, 20, 4)) == (9, 9, 4)
    assert cube_edges(1e-9, (8, 8, 8)) == (1, 1, 1)


def test_cubes_lie_inside_and_reach_every_place() -> None:
    random = torch.Generator().manual_seed(0)
    boxes = [square._place((6, 5, 4), (3, 2, 4), random) for _ in range(200)]
    for axis, starts in enumerate((range(4), range(4), range(1))):
        assert {box[axis].start for box in boxes} == set(starts)
        assert {box[axis].stop - box[axis].start for box in boxes} == {(3, 2, 4)[axis]}


@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_contract(segmenter, volume, storage) -> None:
    volume = replace(volume, image=np.rint(volume.image))
    threat = replace(THREAT, storage=storage)
    attack = load_attack("square", queries=8)
    first, again, other = (attack(segmenter, volume, threat, seed).volume.image for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    change = first.astype(np.float64) - volume.image.clip(-100, 240)
    assert np.abs(change).max() == pytest.approx(10.7 if storage == "float32" else 10, abs=1e-4)
    assert (first.min(), first.max()) == (-100, 240)
    still = attack(segmenter, volume, replace(threat, epsilon=0))
    assert np.array_equal(still.volume.image, volume.image.clip(-100, 240))
    assert still.queries == 1


def test_model_is_left_as_it_was(segmenter, volume) -> None:
    net = segmenter.network.train()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    attack = Square(name="s", queries=3)
    attack(segmenter, volume, THREAT)
    with pytest.raises(InputError, match="no label"):
        attack(segmenter, replace(volume, label=None), THREAT)
    assert all(module.training for module in net)
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())


def test_l2_is_refused_with_the_alternative(segmenter, volume) -> None:
    threat = ThreatModel(norm="l2", epsilon=5, unit="RMS HU", valid=(-100, 240))
    with pytest.raises(InputError, match=r"linf.*choose another attack"):
        Square(name="s")(segmenter, volume, threat)


@pytest.mark.parametrize("settings", [{"queries": 0}, {"p_init": 0.0}, {"p_init": 1.5}])
def test_impossible_settings_are_refused(settings) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        load_attack("square", **settings)
