# SPDX-License-Identifier: Apache-2.0
"""A recipe whose settings contradict each other, or would change nothing, is refused."""

import copy
from pathlib import Path

import pytest

from robust3d.defenses.recipe import Recipe
from robust3d.defenses.stage import stage_digest
from robust3d.foundation.cards import check_card, read_card
from robust3d.foundation.errors import InputError
from tests.defenses.conftest import ADVERSARIES, adversary_section

STAGE = {"iterations": 1, "batch": 1, "window": 16, "sampling": "anywhere", "learning_rate": 0.1}
FINE = STAGE | {"sampling": "foreground"}
CASCADE = {"coarse_grid": "seed(1)", "fine_grid": "seed(1)", "margin": [2, 2, 2]}
CARD = {
    "recipe": {"name": "test", "description": "test"},
    "reference": {"paper": "none"},
    "data": {"source": "folder", "train_cases": 2, "validation_cases": 1},
    "network": {"name": "resdsn", "width": 2},
    "intensity": {"low": -100, "high": 240},
    "coarse": STAGE,
    "deploy": {"coarse_grid": "seed(1)"},
}


def read(changes: dict[str, dict[str, object]]) -> Recipe:
    content = copy.deepcopy(CARD)
    for section, entries in changes.items():
        content[section] = content.get(section, {}) | entries
    return check_card(content, Recipe, where="card test.toml")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data": {"source": "phantom", "shape": [40, 36, 32], "spacing": [6, 6, 8]}},
        {"coarse": {"centred": 0.5, "auxiliary_weights": [0.2, 0.4]}},
        {"coarse": {"auxiliary_weights": []}, "network": {"deep_supervision": False}},
        {"network": {"deep_supervision": False}},
        {"fine": FINE | {"centred": 0}, "deploy": CASCADE},
        {"network": {"name": "vnet"}, "coarse": {"loss": "ce"}},
        {"coarse": {"optimizer": "adamw", "schedule": "cosine", "batch": 4, "accumulate": 2, "average": 0.99}},
        {"coarse": {"optimizer": "sgd", "momentum": 0.8, "schedule": "poly", "power": 1}},
        {"network": {"name": "fresdsn", "deep_supervision": False}},
        {"network": {"name": "voxresnet"}, "coarse": {"auxiliary_weights": [1, 1, 1, 1]}},
        {"data": {"rescale": "percentiles"}, "intensity": {"low": 0, "high": 100}},
    ],
)
def test_settings_with_an_effect_are_taken(changes) -> None:
    read(changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"shape": [40, 36, 32]}}, "data.shape has no effect with source 'folder'"),
        ({"data": {"spacing": [6, 6, 8]}}, "data.spacing has no effect with source 'folder'"),
        ({"data": {"cyst": True}}, "data.cyst has no effect with source 'folder'"),
        ({"data": {"source": "phantom", "cyst": False}}, "data.cyst = false has no effect"),
        ({"data": {"source": "phantom", "cyst": True}}, "network.classes = 2 and data.cyst is true"),
        ({"coarse": {"sampling": "foreground", "centred": 0.5}}, "coarse.centred = 0.5 has no effect"),
        ({"fine": FINE | {"centred": 1}, "deploy": CASCADE}, "fine.centred = 1 has no effect"),
        ({"coarse": {"auxiliary_weights": [0.2]}}, "coarse.auxiliary_weights holds 1 weights and the network resdsn"),
        (
            {"coarse": {"auxiliary_weights": [0.2, 0.4]}, "network": {"deep_supervision": False}},
            "coarse.auxiliary_weights holds 2 weights and the network resdsn of this card has 0 auxiliary heads",
        ),
        ({"deploy": {"fine_grid": "seed(1)"}}, "deploy.fine_grid has no effect without a section fine"),
        ({"deploy": {"margin": [0, 0, 0]}}, "deploy.margin has no effect without a section fine"),
        ({"fine": FINE, "deploy": {"margin": [2, 2, 2]}}, "key 'deploy.fine_grid' is missing"),
        ({"fine": FINE, "deploy": {"fine_grid": "seed(1)"}}, "key 'deploy.margin' is missing"),
        (
            {"network": {"name": "voxresnet"}},
            "coarse.auxiliary_weights holds 2 weights by default and the network voxresnet of this card has 4",
        ),
        (
            {"network": {"name": "res"}, "coarse": {"auxiliary_weights": [0.2, 0.4]}},
            "coarse.auxiliary_weights holds 2 weights and the network res of this card has 0 auxiliary heads",
        ),
        (
            {"network": {"name": "unet3d", "deep_supervision": False}},
            "network.deep_supervision does not belong to network 'unet3d', whose options are classes, width; leave",
        ),
        ({"network": {"name": "monai:UNet"}}, "network.width does not belong to network 'monai:UNet'"),
        ({"coarse": {"loss": "dice"}}, "key 'coarse.loss': input should be 'ce', 'dsc' or 'dice_ce', found 'dice'"),
        (
            {"adversary": ADVERSARIES["pgd"] | {"algorithm": "trade"}},
            "key 'adversary.algorithm': unknown 'trade'; did you mean 'trades'?",
        ),
        ({"adversary": ADVERSARIES["pgd"]}, "key 'adversary.algorithm' is missing"),
        ({"adversary": adversary_section("fast", steps=5)}, "unknown key 'adversary.steps'; did you mean"),
        (
            {"adversary": adversary_section("pgd", bata=1)},
            "unknown key 'adversary.bata'; known: algorithm, clean",
        ),
        ({"adversary": adversary_section("trades", bta=1)}, "unknown key 'adversary.bta'; did you mean 'beta'?"),
        ({"adversary": {"algorithm": "noise", "unit": "HU"}}, "key 'adversary.sigma' is missing"),
        (
            {"adversary": adversary_section("fast", epsilon=0)},
            "key 'adversary.epsilon': input should be greater than 0, found 0",
        ),
        (
            {"adversary": adversary_section("free", replays=0)},
            "key 'adversary.replays': input should be greater than 0, found 0",
        ),
        (
            {"adversary": adversary_section("segpgd", unit="hu")},
            "key 'adversary.unit': unknown unit; known: % of range, HU, intensity, found 'hu'",
        ),
        (
            {"adversary": adversary_section("free", clean_start=0.7)},
            "key 'adversary.clean_start': with warmup 0.3 no iteration is left at full epsilon; their sum must "
            "be below 1, found 0.7",
        ),
        (
            {"coarse": {"optimizer": "adamw", "momentum": 0.9}},
            "coarse.momentum has no effect with 'adamw'; leave",
        ),
        ({"coarse": {"schedule": "cosine", "power": 0.9}}, "coarse.power has no effect with 'cosine'; leave it out"),
        ({"coarse": {"batch": 3, "accumulate": 2}}, "coarse.batch = 3 windows cannot be split into 2 equal parts"),
        ({"coarse": {"average": 1}}, "key 'coarse.average': input should be less than 1, found 1"),
        (
            {"data": {"rescale": "percentiles"}},
            "the section intensity truncates to [-100, 240] and data.rescale makes voxels percent",
        ),
        ({"intensity": {"low": 0, "high": None}}, "key 'intensity': needs both low and high"),
        ({"network": {"name": "resdns"}}, "unknown network 'resdns'; did you mean 'resdsn'?"),
    ],
)
def test_settings_without_an_effect_are_refused(changes, message) -> None:
    with pytest.raises(InputError) as caught:
        read(changes)
    assert str(caught.value).startswith(f"card test.toml: {message}")


CARDS = sorted((Path(__file__).parents[2] / "defenses").glob("*.toml"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_bundled_cards_are_right_and_documented(path) -> None:
    recipe = read_card(path, Recipe)
    assert recipe.recipe.name == path.stem
    table = (path.parents[1] / "docs" / "defenses.md").read_text(encoding="utf-8")
    (row,) = (line for line in table.splitlines() if line.startswith("|") and f"`{path.stem}`" in line.split("|")[1])
    passes = recipe.adversary.passes if recipe.adversary else 1
    assert row.split("|")[3].strip() == f"{passes:g}"
    if recipe.reference.paper != "none":
        assert recipe.reference.paper in row


AS_MADRY = ("adaptive", "fast", "free", "madry-half", "noise", "segpgd", "trades", "vaft")


@pytest.mark.parametrize("name", AS_MADRY)
def test_cards_that_compare_with_madry_deploy_like_it(name) -> None:
    folder = Path(__file__).parents[2] / "defenses"
    assert read_card(folder / f"{name}.toml", Recipe).deploy == read_card(folder / "madry.toml", Recipe).deploy


def digest(network: dict[str, object], **stage: object) -> str:
    return stage_digest(read({"network": network, "coarse": stage}), "coarse")


def test_the_bundled_models_settings_keep_their_hash() -> None:
    # From version 0.1.0, whose only network was ResDSN.
    assert digest({}) == "dc0980a635ccb9d661dc51a7febc3b3a765f76a19c5ae40b3494bcc5476300a9"
    plain = {"deep_supervision": True, "short_residual": False, "long_residual": True, "classes": 2}
    assert digest(plain) == digest({})


def test_an_adversary_of_version_0_1_keeps_its_hash() -> None:
    recipe = read({"adversary": adversary_section("pgd")})
    assert stage_digest(recipe, "coarse") == "4c5142714d4ff9ca5164a4e8c2d33a53cfe65f846449041f4969783fbae51596"


def test_the_hash_tells_adversaries_apart() -> None:
    sections = [adversary_section(algorithm) for algorithm in ADVERSARIES]
    sections += [adversary_section("pgd", clean_start=0.1), adversary_section("trades", beta=1)]
    hashes = {stage_digest(read({"adversary": section}), "coarse") for section in sections}
    assert len(hashes) == len(sections)


def test_the_hash_tells_losses_and_networks_apart() -> None:
    vnet = {"name": "vnet"}
    hashes = [
        digest({}),
        digest({}, loss="dsc"),
        digest({}, loss="dice_ce"),
        digest({"short_residual": True}),
        digest({"name": "fresdsn"}),
        digest(vnet),
        digest(vnet, loss="ce"),
    ]
    assert len(set(hashes)) == len(hashes)
