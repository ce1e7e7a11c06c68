# SPDX-License-Identifier: Apache-2.0
"""Every card of the collections is right, and every mistake in one is a sentence."""

import tomllib

import pytest

from robust3d.attacks.cards import AttackCard, load_attack, read_attack_card
from robust3d.benchmarks.card import read_benchmark_card
from robust3d.defenses.recipe import Recipe
from robust3d.foundation.cards import check_card, read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.zoo.card import ModelCard
from robust3d.zoo.export import model_name

COLLECTIONS = Collections.open()


@pytest.mark.parametrize("name", COLLECTIONS.entries("attacks"))
def test_attack_cards(name) -> None:
    assert read_attack_card(name, COLLECTIONS).attack.name == name


@pytest.mark.parametrize("name", COLLECTIONS.entries("defenses"))
def test_recipes(name) -> None:
    assert read_card(COLLECTIONS.find("defenses", name), Recipe).recipe.name == name


@pytest.mark.parametrize("name", COLLECTIONS.entries("zoo"))
def test_model_cards(name) -> None:
    assert read_card(COLLECTIONS.find("zoo", name), ModelCard).model.name == name


@pytest.mark.parametrize("name", COLLECTIONS.entries("benchmarks"))
def test_benchmark_cards_name_what_there_is(name) -> None:
    about = read_benchmark_card(name, COLLECTIONS).benchmark
    recipes = [read_card(path, Recipe) for path in COLLECTIONS.entries("defenses").values()]
    # The models of a benchmark on a user's data are bundled, or made by a bundled recipe.
    known = {*COLLECTIONS.entries("zoo"), *(model_name(one) for one in recipes if one.data.source == "folder")}
    assert {model.partition("/")[0] for model in about.models} <= known
    for attack in about.attacks:
        name, _, source = attack.partition("@")
        assert name in COLLECTIONS.entries("attacks")
        assert not source or source in COLLECTIONS.entries("zoo")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 5", "stepz = 5", "unknown key 'attack.stepz'; did you mean 'steps'"),
        ("steps = 5", "", "'attack.steps' is missing"),
        ("steps = 5", "steps = -5", "greater than 0, found -5"),
        ("steps = 5", 'steps = "many"', "found 'many'"),
        ('loss = "ce"', 'loss = "hinge"', "unknown loss 'hinge'"),
        ("steps = 5", "steps = = 5", "is not valid TOML"),
        ('name = "ifgsm"', 'name = "other"', "name and file must agree"),
        ('algorithm = "gradient_ascent"', 'algorithm = "magic"', "gradient_ascent"),
    ],
)
def test_mistakes_in_an_attack_card(tmp_path, old, new, message) -> None:
    text = COLLECTIONS.find("attacks", "ifgsm").read_text()
    assert old in text
    folder = tmp_path / "attacks"
    folder.mkdir()
    (folder / "ifgsm.toml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message.replace("(", r"\(")) as caught:
        load_attack("ifgsm", collections=Collections.open([tmp_path]))
    assert "ifgsm" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_changes_to_a_card_are_checked_alike() -> None:
    assert load_attack("ifgsm", steps=20).settings()["steps"] == 20
    with pytest.raises(InputError, match="did you mean 'steps'"):
        load_attack("ifgsm", step=20)


def test_a_card_that_is_not_there(tmp_path) -> None:
    with pytest.raises(InputError, match=r"nothing\.toml does not exist"):
        load_attack(str(tmp_path / "nothing.toml"))


def test_a_card_cannot_be_changed() -> None:
    content = tomllib.loads(COLLECTIONS.find("attacks", "ifgsm").read_text())
    card = check_card(content, AttackCard, where="test")
    with pytest.raises(ValueError, match="frozen"):
        card.attack.steps = 9


def test_a_card_may_state_its_schema_and_others_are_refused(tmp_path) -> None:
    path = COLLECTIONS.find("attacks", "fgsm")
    own = tmp_path / "fgsm.toml"
    own.write_text(f"schema = 1\n{path.read_text()}")
    assert read_card(own, AttackCard) == read_card(path, AttackCard)
    for stated, shown in (("2", "2"), ("true", "True"), ('"1"', "'1'"), ("1.0", "1.0")):
        own.write_text(f"schema = {stated}\n{path.read_text()}")
        with pytest.raises(InputError, match=f"fgsm.toml has schema {shown} and this robust3d reads schema 1; "):
            read_card(own, AttackCard)
