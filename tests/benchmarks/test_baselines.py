# SPDX-License-Identifier: Apache-2.0
"""Committed results are those of the bundled models, and README, docs and model cards show them."""

import json
from pathlib import Path

import pandas as pd
import pytest

from robust3d.benchmarks.cell import SCHEMA
from robust3d.benchmarks.leaderboard import leaderboard
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.zoo.card import ModelCard
from robust3d.zoo.load import load_model

ROOT = Path(__file__).parents[2]
BASELINES = sorted(path.parent for path in (ROOT / "benchmarks" / "baselines").glob("*/results.jsonl"))

every = pytest.mark.parametrize("folder", BASELINES, ids=lambda path: path.name)


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def rows(folder: Path) -> list[str]:
    """Lines of the leaderboard's table, without its heading."""
    table = [line for line in (folder / "leaderboard.md").read_text().splitlines() if line.startswith("|")]
    return table[2:]


@every
def test_cells_are_those_of_the_bundled_models(folder) -> None:
    cells = records(folder)
    for name in {cell["model"] for cell in cells}:
        pipeline = load_model(name, device="cpu")
        # Fast gradients are in the precision of the machine that measured.
        settings = json.loads(json.dumps(pipeline.settings()).replace("bfloat16", "float32"))
        for cell in cells:
            if cell["model"] == name:
                measured = json.loads(json.dumps(cell["settings"]["pipeline"]).replace("bfloat16", "float32"))
                assert (cell["schema"], cell["model_sha256"]) == (SCHEMA, pipeline.weights_sha256)
                assert measured == settings


@every
def test_leaderboards_follow_from_the_cells(folder) -> None:
    board = pd.read_csv(folder / "leaderboard.csv")
    attacks = [column.removesuffix("_dsc") for column in board.columns[6:-4]]
    again = leaderboard(records(folder), board.model.tolist(), attacks)
    pd.testing.assert_frame_equal(again, board, check_dtype=False, atol=0.0051)


@pytest.mark.parametrize(
    "name", ["phantom-pancreas", "phantom-pancreas-sea3d", "table8", "defenses", "hippocampus", "head-neck-ct"]
)
def test_the_readme_shows_the_committed_leaderboards(name) -> None:
    readme = (ROOT / "README.md").read_text()
    for row in rows(ROOT / "benchmarks" / "baselines" / name):
        assert row in readme


def test_the_docs_show_table_8() -> None:
    docs = (ROOT / "docs" / "tables.md").read_text()
    for row in pd.read_csv(ROOT / "benchmarks" / "baselines" / "table8" / "leaderboard.csv").itertuples():
        assert f"| {row.clean_dsc:.2f} | {row.fgsm_dsc:.2f} | {row.ifgsm_dsc:.2f} | {row.drop:.2f} |" in docs


def test_model_cards_tell_the_committed_results() -> None:
    cards = {name: read_card(path, ModelCard) for name, path in Collections((ROOT,)).entries("zoo").items()}
    told = {name: card.results for name, card in cards.items() if card.results is not None}
    assert "resdsn-c2f-natural" in told
    for name, results in told.items():
        board = pd.read_csv(ROOT / "benchmarks" / "baselines" / results.benchmark / "leaderboard.csv")
        row = board.set_index("model").loc[name]
        assert (results.clean_dsc, results.worst_dsc) == (row.clean_dsc, row.worst_dsc)
