# SPDX-License-Identifier: Apache-2.0
"""What every attack of the collection must keep to, on a single stage and on a cascade."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from robust3d.attacks.cards import load_attack
from robust3d.attacks.controls import RandomSign
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import dsc
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Storage

NAMES = list(Collections.open().entries("attacks"))
CONTROLS = {"identity", "random-sign"}
THREAT = ThreatModel(norm="linf", epsilon=10.7, unit="HU", valid=(-100, 240))

every = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(params=["segmenter", "cascade"])
def pipeline(request):
    return request.getfixturevalue(request.param)


def clipped(volume) -> np.ndarray:
    return volume.image.clip(-100, 240)


@every
def test_epsilon_zero_is_the_identity(name, pipeline, volume) -> None:
    adversarial = load_attack(name)(pipeline, volume, replace(THREAT, epsilon=0))
    assert np.array_equal(adversarial.volume.image, clipped(volume))
    assert adversarial.distance == 0


@every
@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_bound_and_range_hold_in_memory_and_on_disk(name, pipeline, volume, tmp_path, storage) -> None:
    volume = replace(volume, image=np.rint(volume.image), storage=Storage(dtype="int16"))
    adversarial = load_attack(name)(pipeline, volume, replace(THREAT, storage=storage)).volume
    adversarial.save(tmp_path / "a.nii.gz")
    saved = nib.load(tmp_path / "a.nii.gz")
    assert saved.get_data_dtype() == np.int16
    stored = np.asanyarray(saved.dataobj)
    for image in (adversarial.image, stored):
        assert image.shape == volume.shape
        assert np.isfinite(image).all()
        assert np.abs(image.astype(np.float64) - clipped(volume)).max() <= 10.7 + 1e-4
        assert image.min() >= -100
        assert image.max() <= 240
    assert np.abs(stored - clipped(volume)).max() <= 10


@every
def test_equal_seeds_give_equal_volumes(name, pipeline, volume) -> None:
    attack = load_attack(name)
    first, again, other = (attack(pipeline, volume, THREAT, seed).volume.image for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    settings = attack.settings()
    random = settings["algorithm"] == "random_sign" or settings.get("start") == "uniform"
    assert np.array_equal(first, other) != random


@every
def test_model_is_left_as_it_was(name, pipeline, volume) -> None:
    net = getattr(pipeline, "coarse", pipeline).network
    net.train()
    net[3].weight.requires_grad_(False)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    attack = load_attack(name)
    attack(pipeline, volume, THREAT)
    with pytest.raises(InputError, match="no label"):
        attack(pipeline, replace(volume, label=None), THREAT)
    if name not in CONTROLS:
        with pytest.raises(InputError, match="classes 9"):
            attack(pipeline, replace(volume, label=np.full(volume.shape, 9, np.uint8)), THREAT)
    assert all(module.training for module in net)
    assert not net[3].weight.requires_grad
    assert net[0].weight.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())


@every
def test_clean_volume_is_left_as_it_was(name, pipeline, volume) -> None:
    image, label = volume.image.copy(), volume.label.copy()
    load_attack(name)(pipeline, volume, THREAT)
    assert np.array_equal(volume.image, image)
    assert np.array_equal(volume.label, label)


@pytest.mark.parametrize("name", sorted(set(NAMES) - CONTROLS))
def test_loss_does_not_fall_and_random_sign_is_weaker(name, pipeline, volume) -> None:
    attack = load_attack(name)
    adversarial = attack(pipeline, volume, THREAT)
    noise = RandomSign(name="noise")(pipeline, volume, THREAT)
    assert adversarial.gradients == attack.settings()["steps"] * attack.settings()["restarts"] == len(adversarial.trace)

    def loss(image: np.ndarray) -> float:
        frozen = pipeline.frozen_at(clipped(volume))
        options = {key: attack.settings()[key] for key in ("loss", "windows", "target")}
        return frozen.loss_gradient(image, volume.label, mode=attack.settings()["gradient"], **options)[0]

    assert loss(adversarial.volume.image) > loss(clipped(volume))
    scores = [dsc(pipeline.predict(one.volume.image).mask, volume.label) for one in (adversarial, noise)]
    assert scores[0] < scores[1]
