# SPDX-License-Identifier: Apache-2.0
"""The commands that docs/data.md gives for the chapter's tables: each run finds the models of its card."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from robust3d.benchmarks.card import read_benchmark_card
from robust3d.cli.app import app
from robust3d.defenses.recipe import Recipe
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.zoo.export import model_name

ROOT = Path(__file__).parents[2]


def _commands(verb: str) -> list[dict[str, Any]]:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    section = text.split("## The chapter's tables\n")[1].split("\n## ")[0].replace("\\\n", "")
    lines = [line for line in section.splitlines() if line.startswith(f"robust3d {verb} ")]
    # Parsed as the command line parses them, so that an option that does not exist fails.
    return [app.parse_args(shlex.split(line)[1:], exit_on_error=False)[1].arguments for line in lines]


def test_every_recipe_has_a_folder_of_its_own() -> None:
    trained = _commands("train")
    assert len({one["out"] for one in trained}) == len(trained)
    assert {one["fold"] for one in trained} == {"all/4"}


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6, 7, 8])
def test_the_collections_of_a_run_hold_the_models_of_its_card(number) -> None:
    collections = Collections.open(())
    (run,) = [one for one in _commands("run") if one["card"].endswith(f"-table{number}")]
    trained = {one["out"]: one for one in _commands("train")}
    used = [trained[folder] for folder in run["collection"]]
    recipes = [read_card(collections.find("defenses", one["card"]), Recipe) for one in used]
    models = read_benchmark_card(run["card"], collections).benchmark.models
    assert {model.partition("/")[0] for model in models} == {model_name(recipe) for recipe in recipes}
    assert {one["data"] for one in used} == {run["data"]}
