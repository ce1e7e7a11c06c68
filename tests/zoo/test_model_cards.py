# SPDX-License-Identifier: Apache-2.0
"""What a model card says about the component filters, and what training writes into one."""

import tomllib

import pytest
import torch

import robust3d as r3
from robust3d.data.splits import Split
from robust3d.defenses.checkpoint import Progress
from robust3d.defenses.recipe import Recipe
from robust3d.defenses.run import TrainedStage
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections, built_in
from robust3d.foundation.digest import digest_file
from robust3d.foundation.errors import InputError
from robust3d.networks.resdsn import ResDSN
from robust3d.networks.weights import save_weights
from robust3d.zoo.card import ModelCard
from robust3d.zoo.export import export_model
from robust3d.zoo.load import find_device


@pytest.fixture
def trained(tmp_path) -> list[TrainedStage]:
    stages = []
    for name in ("coarse", "fine"):
        path = tmp_path / f"{name}.safetensors"
        save_weights(ResDSN(width=16), path)
        stages.append(TrainedStage(name, path, digest_file(path), Progress(recipe="none", inputs="none")))
    return stages


def recipe(name: str) -> Recipe:
    return read_card(Collections.open().find("defenses", name), Recipe)


def test_an_exported_card_has_one_filter_for_the_box_and_one_for_the_final_mask(tmp_path, trained) -> None:
    whole = recipe("natural")
    kept = whole.deploy.min_component
    assert kept > 0
    export_model(whole, trained, tmp_path / "zoo" / "mine", name="mine", command="none")
    written = tomllib.loads((tmp_path / "zoo" / "mine" / "card.toml").read_text())
    assert "min_component" not in written["fine"]
    assert written["coarse"]["min_component"] == written["cascade"]["min_component"] == kept
    collections = Collections.open([tmp_path])
    cascade = r3.load_model("mine", collections=collections)
    assert (cascade.coarse.min_component, cascade.min_component) == (kept, kept)
    assert r3.load_model("mine/fine", collections=collections).min_component == kept


def test_a_recipe_without_a_fine_stage_makes_a_single_stage_model(tmp_path, trained) -> None:
    whole = recipe("natural")
    deploy = whole.deploy.model_copy(update={"fine_grid": None, "margin": None})
    single = whole.model_copy(update={"fine": None, "deploy": deploy})
    export_model(single, trained[:1], tmp_path / "zoo" / "mine", name="mine", command="none")
    assert r3.load_model("mine", collections=Collections.open([tmp_path])).stages == 1


def test_a_split_of_an_earlier_model_goes(tmp_path, trained) -> None:
    split = Split(name="s", train=("a",), validation=("b",), test=())
    for given in (split, None):
        card = export_model(
            recipe("natural"), trained, tmp_path / "zoo" / "mine", name="mine", command="c", split=given
        )
        assert (tmp_path / "zoo" / "mine" / "split.json").exists() is (card.split is not None) is (given is not None)


def test_a_card_states_the_licence_of_its_recipe_and_none_that_nobody_gave(tmp_path, trained) -> None:
    generated = recipe("natural")
    files = generated.model_copy(update={"data": generated.data.model_copy(update={"source": "folder"})})
    stated = files.model_copy(update={"recipe": files.recipe.model_copy(update={"licence": "CC BY-SA 4.0"})})
    found = [
        export_model(one, trained, tmp_path / "zoo" / "mine", name="mine", command="c").model.licence
        for one in (generated, files, stated)
    ]
    assert found == ["Apache-2.0", "not stated", "CC BY-SA 4.0"]


def test_a_filter_of_the_fine_stage_is_refused(tmp_path) -> None:
    text = Collections.open().find("zoo", "resdsn-c2f-natural").read_text()
    (tmp_path / "card.toml").write_text(text.replace("[fine]", "[fine]\nmin_component = 0.1"))
    with pytest.raises(InputError, match=r"fine\.min_component = 0\.1 has no effect; .* cascade\.min_component"):
        read_card(tmp_path / "card.toml", ModelCard)


FLAGS = [
    (torch.backends.cudnn, "deterministic", True),
    (torch.backends.cudnn, "benchmark", False),
    (torch.backends.cudnn, "allow_tf32", False),
    (torch.backends.cuda.matmul, "allow_tf32", False),
]


@pytest.fixture
def careless_cuda():
    before = [getattr(owner, flag) for owner, flag, _ in FLAGS]
    for owner, flag, wanted in FLAGS:
        setattr(owner, flag, not wanted)
    yield
    for (owner, flag, _), value in zip(FLAGS, before, strict=True):
        setattr(owner, flag, value)


@pytest.mark.parametrize("name", ["cuda", "auto"])
def test_choosing_a_cuda_device_makes_it_reproducible(monkeypatch, careless_cuda, name) -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert all(getattr(owner, flag) is not wanted for owner, flag, wanted in FLAGS)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert find_device(name) == torch.device("cuda")
    assert all(getattr(owner, flag) is wanted for owner, flag, wanted in FLAGS)


@pytest.mark.parametrize("path", sorted(built_in().glob("zoo/*/card.toml")), ids=lambda path: path.parent.name)
def test_a_bundled_card_names_its_weights_by_their_hash(path) -> None:
    card = read_card(path, ModelCard)
    assert card.model.name == path.parent.name
    for stage in card.stages.values():
        assert digest_file(stage.weight_file(path.parent)) == stage.sha256


@pytest.mark.parametrize("weights", ["../zoo/a.safetensors", "a/b/c.safetensors", "/a.safetensors", "a.pt"])
def test_weights_lie_in_the_folder_of_a_model(tmp_path, weights) -> None:
    text = Collections.open().find("zoo", "resdsn-c2f-natural").read_text()
    (tmp_path / "card.toml").write_text(text.replace('"fine.safetensors"', f'"{weights}"'))
    with pytest.raises(InputError, match=r"key 'fine\.weights'"):
        read_card(tmp_path / "card.toml", ModelCard)
