# SPDX-License-Identifier: Apache-2.0
"""The record of a recipe's first steps: the same again, and that of the bundled models."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from robust3d.defenses.recipe import Recipe
from robust3d.defenses.reproduction import reproduce
from robust3d.defenses.stage import stage_digest
from robust3d.foundation.cards import read_card
from robust3d.foundation.errors import InputError
from robust3d.zoo.card import ModelCard
from tests.defenses.test_training import quiet, start

ROOT = Path(__file__).parents[2]
RECORDS = sorted((ROOT / "zoo").glob("*/reproduction.json"))


def record(folder: Path) -> dict:
    return json.loads((folder / "reproduction.json").read_text())


def test_the_first_steps_give_the_same_record_again(tmp_path, cases, make_recipe) -> None:
    losses: list[float] = []
    start(make_recipe(), tmp_path / "whole", cases).run_stage("coarse", lambda _, loss, __: losses.append(loss))
    said = [reproduce(start(make_recipe(), tmp_path / name, cases), 5) for name in ("one", "two")]
    one, two = (record(tmp_path / name) for name in ("one", "two"))
    assert one == two
    assert one["weights_sha256"] in said[0]
    assert one["losses"] == pytest.approx(losses[:5], abs=1e-6)
    other = start(make_recipe(learning_rate=0.04), tmp_path / "three", cases)
    reproduce(other, 5)
    assert record(tmp_path / "three")["weights_sha256"] != one["weights_sha256"]


def test_training_goes_on_from_the_record(tmp_path, cases, make_recipe) -> None:
    training = start(make_recipe(), tmp_path, cases)
    reproduce(training, 5)
    assert training.trainer("coarse").progress.iteration == 5
    with pytest.raises(InputError, match=r"is of step 5, .* give another --out"):
        reproduce(training, 5)
    training.run_stage("coarse", quiet)


@pytest.mark.parametrize("steps", [0, 13])
def test_more_steps_than_there_are_are_refused(tmp_path, cases, make_recipe, steps) -> None:
    with pytest.raises(InputError, match="from 1 to the 12 of stage coarse"):
        reproduce(start(make_recipe(), tmp_path, cases), steps)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_bundled_record_is_of_the_recipe_that_trained_the_model(path) -> None:
    written, model = json.loads(path.read_text()), read_card(path.parent / "card.toml", ModelCard)
    recipe = read_card(ROOT / "defenses" / f"{written['recipe']}.toml", Recipe)
    assert written["recipe"] == model.training.recipe
    assert written["settings_sha256"] == stage_digest(recipe, "coarse") == model.training.coarse_sha256
    assert len(written["losses"]) == written["steps"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_bundled_model_is_trained_again(tmp_path, path) -> None:
    """By the command of its card; bit by bit on the type of machine that the record names, else by losses to 0.001."""
    written = json.loads(path.read_text())
    words = shlex.split(read_card(path.parent / "card.toml", ModelCard).training.command)
    words[words.index("--out") + 1] = str(tmp_path)
    if "--data" in words:
        if "ROBUST3D_DATA" not in os.environ:
            pytest.skip("ROBUST3D_DATA is not set")
        place = words.index("--data") + 1
        words[place] = str(Path(os.environ["ROBUST3D_DATA"]) / words[place])
    threads = str(written["machine"].get("threads", 1))
    subprocess.run(
        [sys.executable, "-m", *words, "--steps", str(written["steps"]), "--device", "cpu"],
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": threads},
    )
    found = record(tmp_path)
    assert found["inputs_sha256"] == written["inputs_sha256"]
    if found["machine"] == written["machine"]:
        assert found["weights_sha256"] == written["weights_sha256"]
    assert found["losses"] == pytest.approx(written["losses"], abs=1e-3)
