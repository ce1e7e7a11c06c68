# SPDX-License-Identifier: Apache-2.0
"""FGSM and I-FGSM on a linear model, where Eq. 6 and 7 can be worked out by hand."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from robust3d.attacks.ascent import GradientAscent
from robust3d.attacks.cards import AttackCard, load_attack
from robust3d.foundation.cards import check_card
from robust3d.foundation.errors import InputError
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import hu_window
from robust3d.segment.segmenter import Segmenter
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume

THREAT = ThreatModel(norm="linf", epsilon=10.2, unit="HU", valid=(-100, 240))


@pytest.fixture
def linear() -> Segmenter:
    """Logits (0, x): more HU means foreground, voxel by voxel."""
    net = nn.Conv3d(1, 2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1, 1))
        net.bias.zero_()
    return Segmenter.from_network(net, window=4, grid=overlap(0.5), intensity=hu_window(-100, 240))


@pytest.fixture
def volume() -> Volume:
    image = np.linspace(-150, 300, 6 * 4 * 4, dtype=np.float32).reshape(6, 4, 4)
    label = np.zeros(image.shape, np.uint8)
    label[:5, 1:3, 1:3] = 1
    return Volume(image=image, label=label, affine=np.eye(4), spacing=(1, 1, 1), name="linear")


def by_hand(volume: Volume, moved: float) -> np.ndarray:
    """CE falls with x where the label is 1 and rises where it is 0: foreground goes down, background up."""
    clean = volume.image.clip(-100, 240)
    return (clean + np.where(volume.label == 1, -moved, moved).astype(np.float32)).clip(-100, 240)


def test_fgsm_is_equation_6(linear, volume) -> None:
    adversarial = load_attack("fgsm")(linear, volume, THREAT)
    np.testing.assert_allclose(adversarial.volume.image, by_hand(volume, 10.2), atol=1e-4)
    assert adversarial.gradients == 1


@pytest.mark.parametrize(("steps", "moved"), [(1, 3.4), (2, 6.8), (3, 10.2), (5, 10.2)])
def test_ifgsm_is_equation_7(linear, volume, steps, moved) -> None:
    adversarial = load_attack("ifgsm", steps=steps)(linear, volume, THREAT)
    np.testing.assert_allclose(adversarial.volume.image, by_hand(volume, moved), atol=1e-4)
    assert list(adversarial.trace) == sorted(adversarial.trace)


def test_presets_are_the_chapters() -> None:
    fgsm, ifgsm = load_attack("fgsm").settings(), load_attack("ifgsm").settings()
    for preset in (fgsm, ifgsm):
        assert (preset["gradient"], preset["windows"], preset["target"]) == ("window_mean", "skip_background", "c2f")
        assert (preset["iterate"], preset["start"], preset["restarts"], preset["loss"]) == ("last", "clean", 1, "ce")
    assert (fgsm["steps"], fgsm["relative_step"]) == (1, 1.0)
    assert (ifgsm["steps"], ifgsm["step_size"], ifgsm["step_unit"]) == (5, 3.4, "HU")


def test_skipped_windows_are_not_perturbed(linear, volume) -> None:
    # One window of 4 in a line of 12: starts 0, 2, ..., 8; the foreground of voxel 0 lies in the first alone.
    image = np.resize(volume.image, (12, 4, 4))
    label = np.zeros((12, 4, 4), np.uint8)
    label[0] = 1
    case = Volume(image=image, label=label, affine=np.eye(4), spacing=(1, 1, 1), name="long")
    moved = load_attack("fgsm")(linear, case, THREAT).volume.image != image.clip(-100, 240)
    assert not moved[4:].any()
    assert moved[1:4].any()


def test_best_of_restarts_is_the_lowest_dsc(linear, volume) -> None:
    single = GradientAscent(name="one", steps=1, relative_step=0.1, start="uniform")
    many = GradientAscent(name="many", steps=1, relative_step=0.1, start="uniform", restarts=4)
    threat = ThreatModel(epsilon=60, unit="HU", valid=(-100, 240))

    def score(attack: GradientAscent) -> float:
        from robust3d.metrics.counts import dsc

        return dsc(linear.predict(attack(linear, volume, threat).volume.image).mask, volume.label)

    assert score(many) <= score(single)
    result = many(linear, volume, threat)
    assert (result.gradients, result.queries, len(result.trace)) == (4, 4, 4)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 5}, "either step_size with step_unit, or relative_step"),
        ({"steps": 5, "step_size": 3.4}, "has no unit"),
        ({"steps": 5, "step_size": 3.4, "step_unit": "HU", "relative_step": 1.0}, "either"),
        ({"steps": 5, "relative_step": 1.0, "step_unit": "HU"}, "fraction of epsilon"),
        ({"steps": 0, "relative_step": 1.0}, "greater than 0"),
        ({"steps": 1, "relative_step": 1.0, "restarts": 3}, "all alike"),
        ({"steps": 1, "relative_step": 1.0, "loss": "hinge"}, "unknown loss 'hinge'"),
        ({"steps": 1, "relative_step": float("inf")}, "finite number"),
        ({"steps": 1, "relative_step": 1.0, "gradient": "fused", "windows": "tiling"}, "use mode 'window_mean'"),
        ({"steps": 1, "relative_step": 1.0, "windows": "influential"}, "use mode 'fused'"),
        ({"steps": 1, "relative_step": 1.0, "check_every": 2}, "no effect"),
        ({"steps": 1, "relative_step": 1.0, "update": "momentum"}, "need a decay"),
        ({"steps": 1, "relative_step": 1.0, "decay": 0.5}, "need a decay"),
        (
            {"steps": 1, "relative_step": 1.0, "windows": "skip_background", "goal": {"kind": "erase"}},
            "windows = 'all'",
        ),
    ],
)
def test_impossible_settings_are_refused(settings, sentence) -> None:
    content = {"attack": {"algorithm": "gradient_ascent", "name": "wrong", **settings}, "reference": {"paper": ""}}
    with pytest.raises(InputError, match=re.escape(sentence)):
        check_card(content, AttackCard, where="card wrong.toml")


def test_a_step_in_another_unit_is_refused(linear, volume) -> None:
    with pytest.raises(InputError, match="steps in HU and the threat model is in intensity"):
        load_attack("ifgsm")(linear, volume, ThreatModel(epsilon=0.1, unit="intensity"))
