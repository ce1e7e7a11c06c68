# SPDX-License-Identifier: Apache-2.0
"""What every attack of the collection must keep to, on a single stage and on a cascade."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from robust3d.attacks.apgd import APGD
from robust3d.attacks.attack import Attack
from robust3d.attacks.cards import load_attack
from robust3d.attacks.controls import RandomSign
from robust3d.attacks.ensemble import SEA3D
from robust3d.attacks.minimal import MinimalNorm
from robust3d.attacks.objective import GradientAttack
from robust3d.attacks.square import Square
from robust3d.attacks.universal import Universal
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import dsc
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Storage

NAMES = list(Collections.open().entries("attacks"))
THREAT = ThreatModel(norm="linf", epsilon=10.7, unit="HU", valid=(-100, 240))
L2 = ThreatModel(norm="l2", epsilon=5.3, unit="RMS HU", valid=(-100, 240))


def small(name: str) -> Attack:
    """Return the card's attack with few steps; the rest as in the card."""
    attack = load_attack(name)
    changes: dict[str, object] = {}
    if getattr(attack, "steps", 1) > 6:
        # DAG moves one voxel by a fifteenth of epsilon in a step, and most voxels by far less.
        changes["steps"] = 100 if name == "dag" else 6
    if name == "square":
        changes["queries"] = 12
    if hasattr(attack, "inner"):
        changes |= {"inner": attack.inner.model_dump() | {"steps": 3}, "halvings": 1}
    return load_attack(name, **changes) if changes else attack


def threat_for(attack: Attack, **changes) -> ThreatModel:
    return replace(THREAT if "linf" in attack.norms else L2, **changes)


def cases() -> list[tuple[str, str]]:
    """Every card on a single stage and on a cascade; DLR on three classes."""
    fitting = {"apgd-dlr": ("three_classes",)}
    return [(name, kind) for name in NAMES for kind in fitting.get(name, ("segmenter", "cascade"))]


every = pytest.mark.parametrize(("name", "pipeline"), cases(), indirect=["pipeline"])
pytestmark = pytest.mark.filterwarnings("ignore:.*judges its progress")


@pytest.fixture
def pipeline(request):
    return request.getfixturevalue(request.param)


def random_by_seed(attack: Attack) -> bool:
    if isinstance(attack, MinimalNorm):
        return random_by_seed(attack.inner)
    own = isinstance(attack, RandomSign | APGD | SEA3D | Square) or getattr(attack, "start", "") == "uniform"
    kinds = {"noise", "bias_field"}
    libraries = {"torchattacks-pgd", "torchattacks-rfgsm", "torchattacks-ffgsm", "torchattacks-eotpgd"}
    return own or getattr(attack, "kind", "") in kinds or attack.name in libraries | {"art-pgd", "torchattacks-tpgd"}


def clipped(volume) -> np.ndarray:
    return volume.image.clip(-100, 240)


@every
def test_epsilon_zero_is_the_identity(name, pipeline, volume) -> None:
    attack = small(name)
    adversarial = attack(pipeline, volume, threat_for(attack, epsilon=0))
    if not attack.bounded:
        assert adversarial.distance > 0
        return
    assert np.array_equal(adversarial.volume.image, clipped(volume))
    assert adversarial.distance == 0


@every
@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_bound_and_range_hold_in_memory_and_on_disk(name, pipeline, volume, tmp_path, storage) -> None:
    volume = replace(volume, image=np.rint(volume.image), storage=Storage(dtype="int16"))
    attack = small(name)
    threat = threat_for(attack, storage=storage)
    adversarial = attack(pipeline, volume, threat).volume
    adversarial.save(tmp_path / "a.nii.gz")
    saved = nib.load(tmp_path / "a.nii.gz")
    assert saved.get_data_dtype() == np.int16
    stored = np.asanyarray(saved.dataobj)
    for image in (adversarial.image, stored):
        assert image.shape == volume.shape
        assert np.isfinite(image).all()
        change = image.astype(np.float64) - clipped(volume)
        size = np.abs(change).max() if threat.norm == "linf" else np.sqrt(np.mean(change**2))
        assert size <= threat.epsilon + 1e-4 or not attack.bounded
        assert image.min() >= -100
        assert image.max() <= 240
    assert np.abs(stored - clipped(volume)).max() <= 10 or not attack.bounded or threat.norm == "l2"


@every
def test_equal_seeds_give_equal_volumes(name, pipeline, volume) -> None:
    attack = small(name)
    threat = threat_for(attack)
    first, again, other = (attack(pipeline, volume, threat, seed).volume.image for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) != random_by_seed(attack)


@every
def test_model_is_left_as_it_was(name, pipeline, volume) -> None:
    net = getattr(pipeline, "coarse", pipeline).network
    net.train()
    net[3].weight.requires_grad_(False)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    attack = small(name)
    threat = threat_for(attack)
    attack(pipeline, volume, threat)
    with pytest.raises(InputError, match="no label"):
        attack(pipeline, replace(volume, label=None), threat)
    if isinstance(attack, GradientAttack) and attack.goal is None and not isinstance(attack, Universal):
        with pytest.raises(InputError, match="class 9"):
            attack(pipeline, replace(volume, label=np.full(volume.shape, 9, np.uint8)), threat)
    assert all(module.training for module in net)
    assert not net[3].weight.requires_grad
    assert net[0].weight.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())


@every
def test_clean_volume_is_left_as_it_was(name, pipeline, volume) -> None:
    image, label = volume.image.copy(), volume.label.copy()
    attack = small(name)
    attack(pipeline, volume, threat_for(attack))
    assert np.array_equal(volume.image, image)
    assert np.array_equal(volume.label, label)


def untargeted() -> list[tuple[str, str]]:
    # A universal perturbation is made for other cases, which test_universal.py has.
    white_box = {name for name in NAMES if isinstance(load_attack(name), GradientAttack | SEA3D)} - {"universal"}
    return [
        (name, kind) for name, kind in cases() if name in white_box and getattr(load_attack(name), "goal", None) is None
    ]


@pytest.mark.parametrize(("name", "pipeline"), untargeted(), indirect=["pipeline"])
def test_loss_does_not_fall_and_random_sign_is_weaker(name, pipeline, volume) -> None:
    attack = small(name)
    if not attack.bounded:
        pytest.skip("not comparable with noise of size epsilon")
    threat = threat_for(attack)
    adversarial = attack(pipeline, volume, threat)
    noise = RandomSign(name="noise")(pipeline, volume, threat)
    scores = [dsc(pipeline.predict(one.volume.image).mask, volume.label == 1) for one in (adversarial, noise)]
    assert scores[0] < scores[1]
    if isinstance(attack, SEA3D):
        assert adversarial.gradients == len(adversarial.trace) == attack.steps * len(adversarial.details["members"])
        return
    if hasattr(attack, "steps") and hasattr(attack, "restarts"):
        assert adversarial.gradients == len(adversarial.trace) == attack.steps * attack.restarts

    def loss(image: np.ndarray) -> float:
        frozen = pipeline.frozen_at(clipped(volume))
        options = {"windows": attack.windows, "target": attack.target, "mode": attack.gradient}
        # SegPGD's first step counts the voxels that are still right alone: the loss falls as they flip.
        chosen = "ce" if attack.loss in ("segpgd", "cospgd", "masked_ce", "balanced_masked_ce") else attack.loss
        return frozen.loss_gradient(image, volume.label, loss=chosen, **options)[0]

    if attack.loss != "masked_margin":
        assert loss(adversarial.volume.image) > loss(clipped(volume))
