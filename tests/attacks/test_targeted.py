# SPDX-License-Identifier: Apache-2.0
"""Targeted attacks, the minimal-norm attack and transfer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robust3d.attacks.ascent import GradientAscent
from robust3d.attacks.cards import load_attack
from robust3d.attacks.goals import Erase, Hallucinate, Shift
from robust3d.attacks.minimal import MinimalNorm
from robust3d.attacks.transfer import Transfer
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import dsc
from robust3d.threat.model import ThreatModel
from robust3d.volume.nifti import save_label
from tests.attacks.analytic import Quadratic, volume_of_ones

THREAT = ThreatModel(epsilon=40, unit="HU", valid=(-100, 240))


def test_goal_maps(volume) -> None:
    assert not Erase(kind="erase").label(volume).any()
    two = replace(volume, label=np.where(volume.image > 100, 2, volume.label).astype(np.uint8))
    assert np.array_equal(Erase(kind="erase", class_index=2).label(two), np.where(two.label == 2, 0, two.label))
    # Voxels are 3 x 3 x 4 mm: 6 and 9 mm are two and three voxels, 5 mm rounds to one.
    moved = Shift(kind="shift", offset=(6.0, -9.0, 5.0)).label(volume)
    assert np.array_equal(moved[2:, :-3, 1:], volume.label[:-2, 3:, :-1])
    assert not moved[:2].any()
    ball = Hallucinate(kind="hallucinate", centre=(0.5, 0.5, 0.5), radius=12.0).label(
        replace(volume, label=volume.label * 0)
    )
    places = (np.argwhere(ball) - (np.array(volume.shape) - 1) / 2) * volume.spacing
    assert np.linalg.norm(places, axis=1).max() <= 12
    assert ball.sum() * 36 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.1)


def test_any_label_map_can_be_the_goal(segmenter, volume, tmp_path) -> None:
    wanted = np.zeros_like(volume.label)
    wanted[4:12, 5:12, 4:10] = 1
    save_label(wanted, volume, tmp_path / "case.nii.gz")
    attack = load_attack("pgd-dice", goal={"kind": "map", "path": str(tmp_path)}, loss="dice_ce")
    before = dsc(segmenter.predict(volume.image.clip(-100, 240)).mask, wanted)
    adversarial = attack(segmenter, volume, THREAT)
    assert np.array_equal(attack.goal.label(volume), wanted)
    assert adversarial.details["target_dsc"] > before
    before_change = attack.settings()
    save_label(wanted * 0, volume, tmp_path / "case.nii.gz")
    assert attack.settings() != before_change
    missing = load_attack("erase", goal={"kind": "map", "path": str(tmp_path / "none.nii.gz")})
    with pytest.raises(InputError, match="neither a file nor a folder"):
        missing.check(2, THREAT)
    with pytest.raises(InputError, match="other"):
        attack.goal.label(replace(volume, name="other"))
    smaller = replace(volume, image=volume.image[1:], label=volume.label[1:])
    with pytest.raises(InputError, match="shape"):
        attack.goal.label(smaller)


def test_a_ball_inside_the_organ_is_refused(volume) -> None:
    full = replace(volume, label=np.ones_like(volume.label))
    with pytest.raises(InputError, match="holds no voxel outside class 1"):
        Hallucinate(kind="hallucinate", centre=(0.5, 0.5, 0.5), radius=5.0).label(full)


@pytest.mark.parametrize("name", ["erase", "hallucinate", "shift"])
def test_targeted_attacks_approach_their_map(name, segmenter, volume) -> None:
    attack = load_attack(name, steps=10)
    adversarial = attack(segmenter, volume, THREAT)
    goal = attack.goal.label(volume)
    before, after = (
        attack.goal.score(segmenter.predict(image).mask, volume, 2)
        for image in (volume.image.clip(-100, 240), adversarial.volume.image)
    )
    assert after < before
    assert adversarial.details["target_dsc"] == dsc(segmenter.predict(adversarial.volume.image).mask, goal)
    assert adversarial.trace[-1] < adversarial.trace[0]


def test_minimal_epsilon_is_found_by_bisection() -> None:
    # A voxel is lost once it is within 0.5 of its peak at 6, so for a step to the bound from epsilon 5.5 on.
    pipeline = Quadratic(torch.full((4, 4, 4), 6.0), reach=0.5)
    inner = GradientAscent(name="fgsm", steps=1, relative_step=1.0)
    attack = MinimalNorm(name="minimal", inner=inner, threshold=0.5, halvings=6)
    # At epsilon 6.4 the first trial succeeds too.
    result = attack(pipeline, volume_of_ones((4, 4, 4)), ThreatModel(epsilon=6.4, unit="HU"))
    assert 5.5 <= result.details["minimal_epsilon"] <= 5.5 + 6.4 / 2**6
    assert result.distance == pytest.approx(result.details["minimal_epsilon"])
    assert result.gradients == 7


def test_minimal_epsilon_of_a_failing_attack_is_none_and_of_a_lost_case_is_zero() -> None:
    inner = GradientAscent(name="fgsm", steps=1, relative_step=1.0)
    attack = MinimalNorm(name="minimal", inner=inner, threshold=0.5, halvings=2)
    threat = ThreatModel(epsilon=3, unit="HU")
    failed = attack(Quadratic(torch.full((4, 4, 4), 6.0)), volume_of_ones((4, 4, 4)), threat)
    assert failed.details["minimal_epsilon"] is None
    assert failed.distance == 3
    lost = attack(Quadratic(torch.full((4, 4, 4), 6.0)), volume_of_ones((4, 4, 4), 6.0), threat)
    assert lost.details["minimal_epsilon"] == 0
    assert lost.gradients == 0


def test_open_voxels_stay_open_in_every_map(volume) -> None:
    label = volume.label.copy()
    label[3:6] = 255
    case = replace(volume, label=label)
    for goal in (
        Erase(kind="erase"),
        Hallucinate(kind="hallucinate", centre=(0.3, 0.5, 0.5), radius=15.0),
        Shift(kind="shift", offset=(6.0, 0.0, 0.0)),
    ):
        assert np.array_equal(goal.label(case) == 255, label == 255)


def test_a_goal_refuses_classes_and_losses_that_cannot_reach_it() -> None:
    threat = ThreatModel(epsilon=10.2, unit="HU")
    with pytest.raises(InputError, match="the model has 0 to 1"):
        load_attack("erase", goal={"kind": "erase", "class_index": 2}).check(2, threat)
    with pytest.raises(InputError, match="spends nothing on voxels that are not yet"):
        load_attack("erase", loss="masked_ce")
    inner = load_attack("minimal-dag").inner.model_dump() | {"goal": {"kind": "erase"}, "loss": "ce"}
    with pytest.raises(InputError, match=r"leave out inner\.goal"):
        load_attack("minimal-dag", inner=inner)


def test_an_unbounded_attack_stays_unbounded_when_it_is_transferred(segmenter) -> None:
    for name in ("vafa", "fgsm"):
        attack = load_attack(name)
        assert Transfer(name=f"{name}@m", attack=attack, source=segmenter).bounded == attack.bounded
    assert not load_attack("vafa").bounded


def test_transfer_is_crafted_on_the_source(segmenter, cascade, volume) -> None:
    attack = load_attack("ifgsm")
    transfer = Transfer(name="ifgsm@segmenter", attack=attack, source=segmenter)
    one = transfer(cascade, volume, THREAT)
    assert np.array_equal(one.volume.image, attack(segmenter, volume, THREAT).volume.image)
    other = Transfer(name="ifgsm@segmenter", attack=attack, source=replace(segmenter, min_component=0.5))
    assert transfer.settings() != other.settings()


def test_a_step_in_hu_is_refused_under_an_rms_bound() -> None:
    with pytest.raises(InputError, match="steps in HU and the threat model is in RMS HU"):
        load_attack("ifgsm").check(2, ThreatModel(norm="l2", epsilon=3, unit="RMS HU"))
