# SPDX-License-Identifier: Apache-2.0
"""Every network from a recipe to a model of the zoo that predicts and gives gradients."""

import numpy as np
import pytest
import torch

import robust3d as r3
from robust3d.defenses.recipe import Recipe
from robust3d.defenses.run import Training
from robust3d.foundation.cards import check_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.networks.registry import NETWORKS, count_auxiliary_heads
from robust3d.volume.volume import Volume
from robust3d.zoo.export import export_model

UNET = {"name": "monai:UNet", "options": {"channels": [2, 4], "strides": [2]}}


@pytest.fixture(scope="module")
def case() -> Volume:
    image = np.random.default_rng(0).normal(40, 30, (20, 16, 16)).astype(np.float32)
    label = np.zeros(image.shape, dtype=np.uint8)
    label[6:14, 5:12, 4:12] = 1
    return Volume(image=image + 100 * label, label=label, affine=np.eye(4), spacing=(1, 1, 1), name="box")


def recipe(network: dict[str, object]) -> Recipe:
    stage = {"iterations": 1, "batch": 2, "window": 16, "sampling": "anywhere", "learning_rate": 1e-3}
    heads = 0 if network == UNET else count_auxiliary_heads(str(network["name"]), {})
    content = {
        "recipe": {"name": "test", "description": "test"},
        "reference": {"paper": "none"},
        "data": {"source": "folder", "train_cases": 1, "validation_cases": 1},
        "network": network,
        "intensity": {"low": -100, "high": 240},
        "coarse": stage | {"validation_windows": 2, "auxiliary_weights": [0.5] * heads},
        "deploy": {"coarse_grid": "overlap(0.5)"},
    }
    return check_card(content, Recipe, where="test")


def test_the_loader_is_told_what_the_recipe_said(tmp_path, case) -> None:
    network = {"name": "resdsn", "width": 2, "short_residual": True}
    settings = train(network, tmp_path, case).settings()["network"]
    assert settings == {"name": "resdsn", "width": 2, "classes": 2, "short_residual": True, "long_residual": True}


@pytest.mark.parametrize("network", [*({"name": name, "width": 2} for name in NETWORKS), UNET], ids=lambda n: n["name"])
def test_trained_networks_become_models(tmp_path, case, network) -> None:
    model = train(network, tmp_path, case)
    stored = {key: value for key, value in model.settings()["network"].items() if key in network}
    assert stored == network
    assert model.predict(case.image).mask.shape == case.image.shape
    value, gradient = model.loss_gradient(case.image, case.label, loss="ce", mode="fused")
    assert np.isfinite(value)
    assert gradient.shape == case.image.shape
    assert np.abs(gradient).max() > 0


def test_a_card_with_a_flag_of_another_network_is_refused(tmp_path, case) -> None:
    train({"name": "unet3d", "width": 2}, tmp_path, case)
    path = tmp_path / "zoo" / "mine" / "card.toml"
    path.write_text(path.read_text().replace('name = "unet3d"', 'name = "unet3d"\nlong_residual = true'))
    with pytest.raises(
        InputError, match=r"card\.toml: network\.long_residual does not belong to network 'unet3d', who"
    ):
        r3.load_model("mine", collections=Collections.open([tmp_path]))


def train(network: dict[str, object], folder, case: Volume):
    run = Training(
        recipe(network),
        folder / "run",
        [case],
        [case],
        find_weights=lambda model, stage: folder / model / stage,
        device=torch.device("cpu"),
    )
    stage = run.run_stage("coarse", lambda *_: None)
    export_model(run.recipe, [stage], folder / "zoo" / "mine", name="mine", command="none")
    return r3.load_model("mine", device="cpu", collections=Collections.open([folder]))
