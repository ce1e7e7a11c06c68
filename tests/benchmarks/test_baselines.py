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
from robust3d.zoo.size import count_parameters

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


@pytest.mark.parametrize(
    ("page", "name"),
    [
        *(("tables", name) for name in ("table2", "table3", "table4", "table5", "table7", "structures")),
        *(("defenses", name) for name in ("defenses", "transforms")),
    ],
)
def test_the_docs_show_the_committed_figures(page, name) -> None:
    """Every figure of a model that the page's section shows, in the row that names it."""
    section = (ROOT / "docs" / f"{page}.md").read_text().split(f"`robust3d run {name} --out runs/{name}`")[1]
    lines = section.split("\n## ")[0].splitlines()
    for row in pd.read_csv(ROOT / "benchmarks" / "baselines" / name / "leaderboard.csv").to_dict(orient="records"):
        (line,) = (line for line in lines if line.startswith("|") and f"`{row['model']}`" in line)
        headings = next(one for one in lines if one.startswith("|"))
        shown = dict(zip(map(str.strip, headings.split("|")), map(str.strip, line.split("|")), strict=True))
        assert f"{row['clean_dsc']:.2f} ± {row['clean_std']:.2f}" in shown.values()
        figures = {"max": "clean_max", "min": "clean_min", "pgd-dice": "pgd-dice_dsc", "ifgsm-exact": "ifgsm-exact_dsc"}
        figures |= {"FGSM": "fgsm_dsc", "I-FGSM": "ifgsm_dsc", "fgsm": "fgsm_dsc", "ifgsm": "ifgsm_dsc"}
        figures |= {"random-sign": "random-sign_dsc", "worst": "worst_dsc"}
        for heading, column in figures.items():
            assert shown.get(heading, f"{row.get(column, 0):.2f}") == f"{row.get(column, 0):.2f}", heading
        drop = f"{row['drop']:.2f} [{row['drop_ci_low']:.2f}, {row['drop_ci_high']:.2f}]"
        assert shown.get("drop", drop) == drop


def test_the_docs_count_the_parameters_of_the_structures() -> None:
    docs = (ROOT / "docs" / "tables.md").read_text()
    for name in ("unet3d-short", "voxresnet-short", "vnet-short"):
        card = read_card(ROOT / "zoo" / name / "card.toml", ModelCard)
        assert f"| `{name}` | {count_parameters(card):,} |" in docs


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
