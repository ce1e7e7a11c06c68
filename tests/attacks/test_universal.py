# SPDX-License-Identifier: Apache-2.0
"""Universal perturbation: the same for all cases, and crafted as a hand-written ascent does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robust3d.attacks import universal
from robust3d.attacks.cards import load_attack
from robust3d.attacks.controls import RandomSign
from robust3d.attacks.universal import Universal, craft_universal, training_cases
from robust3d.foundation.errors import InputError
from robust3d.threat.model import ThreatModel

LINF = ThreatModel(norm="linf", epsilon=10.7, unit="HU", valid=(-100, 240))
L2 = ThreatModel(norm="l2", epsilon=6.5, unit="RMS HU", valid=(-100, 240))


def small(**settings) -> Universal:
    return Universal(name="u", **({"loss": "ce", "train_cases": 2, "passes": 2} | settings))


@pytest.fixture(autouse=True)
def forget() -> None:
    universal._memory.clear()


@pytest.fixture
def other(segmenter, volume):
    """Another case of the same shape and spacing, with nothing beyond the valid range."""
    image = np.random.default_rng(7).uniform(0, 140, volume.shape).astype(np.float32)
    return replace(volume, image=image, label=segmenter.predict(image).mask, name="other")


@pytest.fixture
def cases(segmenter, volume):
    """Cases of one distribution, labelled by the model itself."""
    random = np.random.default_rng(11)
    images = [random.normal(70, 60, volume.shape).astype(np.float32) for _ in range(4)]
    return [
        replace(volume, image=image, label=segmenter.predict(image.clip(-100, 240)).mask, name=f"case{number}")
        for number, image in enumerate(images)
    ]


@pytest.fixture
def crafts(monkeypatch) -> list[float]:
    """Epsilon of each crafting that really happens."""
    calls = []
    craft = universal.craft_universal
    monkeypatch.setattr(universal, "craft_universal", lambda *given: calls.append(given[2].epsilon) or craft(*given))
    return calls


@pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])
def test_change_is_equal_for_all_cases_and_crafted_once(segmenter, volume, other, threat, crafts) -> None:
    one, two = (small()(segmenter, case, threat) for case in (volume, other))
    assert len(crafts) == 1
    inside = (volume.image > -80) & (volume.image < 220)
    changes = [(result.volume.image - case.image)[inside] for result, case in ((one, volume), (two, other))]
    if threat is L2:  # Clipping shortens the change of one case, and projection leaves what is within the ball alone.
        assert one.distance <= 6.5 + 1e-4
    np.testing.assert_allclose(*changes, atol=1e-3)
    assert np.abs(changes[0]).max() > 1
    assert one.details == two.details
    assert one.details["crafting_gradients"] == 4
    assert len(one.details["crafting_loss"]) == 2
    assert (one.gradients, one.queries, one.trace) == (0, 0, ())


def test_memory_changes_no_result_and_keeps_the_four_used_last(segmenter, volume, crafts) -> None:
    def image(epsilon) -> np.ndarray:
        attack = small(passes=1, train_cases=1)
        return attack(segmenter, volume, replace(LINF, epsilon=epsilon)).volume.image

    first = image(1)
    for epsilon in (2, 3, 4, 1, 5):
        image(epsilon)
    assert crafts == [1, 2, 3, 4, 5]
    assert np.array_equal(first, image(1))
    assert crafts == [1, 2, 3, 4, 5]
    second = image(2)
    assert crafts == [1, 2, 3, 4, 5, 2]
    universal._memory.clear()
    assert np.array_equal(first, image(1))
    assert np.array_equal(second, image(2))


def test_memory_tells_models_threats_and_settings_apart(segmenter, volume) -> None:
    def change(threat=LINF, **settings) -> np.ndarray:
        return small(**settings)(segmenter, volume, threat).volume.image

    first = change()
    assert not np.array_equal(first, change(passes=1))
    assert np.abs(change(replace(LINF, epsilon=3)) - volume.image.clip(-100, 240)).max() <= 3 + 1e-4
    finer = small()(segmenter, replace(volume, spacing=(2.0, 2.0, 2.0)), LINF).volume.image
    assert not np.array_equal(first, finer)
    cut = replace(volume, image=volume.image[:20].copy(), label=volume.label[:20].copy())
    assert small()(segmenter, cut, LINF).volume.shape == (20, 18, 14)
    with torch.no_grad():
        segmenter.network[0].weight.neg_()
    assert not np.array_equal(first, change())


def test_crafting_is_the_ascent_written_by_hand(segmenter, cases) -> None:
    attack = small(relative_step=0.5, passes=2, gradient="window_mean", target="coarse")
    crafted = craft_universal(segmenter, cases[:2], LINF, attack)
    change = np.zeros(cases[0].shape, np.float32)
    losses = []
    for _ in range(2):
        for case in cases[:2]:
            clean = case.image.clip(-100, 240)
            shown = (clean + change).clip(-100, 240)
            value, gradient = segmenter.frozen_at(clean).loss_gradient(shown, case.label)
            losses.append(value)
            change = (change + np.float32(5.35) * np.sign(gradient)).clip(-10.7, 10.7)
    np.testing.assert_allclose(crafted.change.numpy(), change, atol=1e-4)
    np.testing.assert_allclose(crafted.losses, np.reshape(losses, (2, 2)).mean(1), rtol=1e-6)


def test_it_harms_cases_that_it_was_not_crafted_on_more_than_noise(segmenter, cases) -> None:
    attack = small(passes=6)
    change = craft_universal(segmenter, cases[:3], LINF, attack).change.numpy()
    unseen = cases[3]
    clean = unseen.image.clip(-100, 240)

    def loss(image) -> float:
        return segmenter.frozen_at(clean).loss_gradient(image.clip(-100, 240), unseen.label, mode="fused")[0]

    noise = [RandomSign(name="n")(segmenter, unseen, LINF, seed).volume.image for seed in range(3)]
    assert loss(clean + change) > max(map(loss, noise))


@pytest.mark.parametrize("threat", [LINF, L2, replace(LINF, storage="int16")], ids=["linf", "l2", "int16"])
def test_bound_range_and_identity(segmenter, volume, threat) -> None:
    volume = replace(volume, image=np.rint(volume.image))
    clean = volume.image.clip(-100, 240)
    image = small()(segmenter, volume, threat).volume.image
    change = image.astype(np.float64) - clean
    assert 0 < threat.distance(torch.from_numpy(image), torch.from_numpy(volume.image)) <= threat.epsilon + 1e-4
    assert change.any()
    assert image.min() >= -100
    assert image.max() <= 240
    if threat.storage == "int16":
        assert np.array_equal(image, np.rint(image))
    still = small(start="uniform")(segmenter, volume, replace(threat, epsilon=0)).volume.image
    assert np.array_equal(still, clean)


def test_seed_counts_for_the_uniform_start_only(segmenter, volume, cases) -> None:
    clean = [small()(segmenter, volume, LINF, seed).volume.image for seed in (1, 2)]
    assert np.array_equal(*clean)
    assert len(universal._memory) == 1
    attack = small(start="uniform", passes=1)
    one, again, two = (craft_universal(segmenter, cases[:1], LINF, attack, seed).change for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
    assert float(two.abs().max()) <= 10.7 + 1e-4
    moved = [attack(segmenter, volume, LINF, seed).volume.image for seed in (1, 2)]
    assert not np.array_equal(*moved)


def test_training_phantoms_have_the_case_s_grid_and_are_no_test_cases(volume) -> None:
    cases = training_cases(2, volume.shape, (6.0, 6.0, 8.0))
    assert [case.name for case in cases] == ["train_0000", "train_0001"]
    assert all(case.shape == case.label.shape == volume.shape for case in cases)
    assert all(case.spacing == (6.0, 6.0, 8.0) for case in cases)
    assert not np.array_equal(cases[0].image, cases[1].image)


def test_model_is_left_as_it_was(cascade, volume, cases) -> None:
    net = cascade.coarse.network.train()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    attack = small(passes=1, train_cases=1)
    attack(cascade, volume, LINF)
    with pytest.raises(InputError, match="no label"):
        attack(cascade, replace(volume, label=None), LINF)
    with pytest.raises(InputError, match="class 9"):
        craft_universal(cascade, [replace(cases[0], label=np.full(volume.shape, 9, np.uint8))], LINF, attack)
    assert all(module.training for module in net)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())


def test_what_cannot_work_is_refused(segmenter, volume, cases) -> None:
    with pytest.raises(InputError, match=r"CT phantoms in HU .*craft_universal with cases of your own"):
        load_attack("universal")(segmenter, volume, ThreatModel(epsilon=0.1, unit="intensity"))
    with pytest.raises(InputError, match="needs cases of one shape, found none"):
        craft_universal(segmenter, [], LINF, small())
    cut = replace(cases[0], image=cases[0].image[:16].copy(), label=cases[0].label[:16].copy())
    with pytest.raises(InputError, match="crop or resample"):
        craft_universal(segmenter, [cases[0], cut], LINF, small())
