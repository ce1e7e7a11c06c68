# SPDX-License-Identifier: Apache-2.0
"""A report of made-up results, with names that look like HTML."""

import json
from pathlib import Path

import pytest
from gate_cells import table, write
from html_case import NASTY, MadeReplay

from robust3d.benchmarks.board.board import Board
from robust3d.benchmarks.results import Results, read_results
from robust3d.foundation.collections import Collections
from robust3d.report.board.site import write_site
from robust3d.report.html.site import Sources, write_report


@pytest.fixture(scope="session")
def made_results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two models, two attacks, two cases."""
    scores = {"clean": [90.0, 70.0], "fgsm": [50.0, 40.0], "ifgsm": [9.0, 60.0]}
    cells = table(scores, model=NASTY) + table({key: [80.0, 75.0] for key in scores}, model="robust")
    for one in cells:
        one["trace"] = [] if one["attack"] == "clean" else [0.1, 0.3, 0.2]
    return read_results(write(tmp_path_factory.mktemp("made"), cells))


@pytest.fixture(scope="session")
def made_report(made_results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the report, with a page of the first case."""
    folder = tmp_path_factory.mktemp("report")
    replay = MadeReplay(made_results)
    assert not write_report(
        Sources(made_results, (), {}, Collections(()), replay, ["case_0"]), folder, lambda key: None
    )
    return folder


@pytest.fixture(scope="session")
def made_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a public leaderboard with two models."""
    sha = "a" * 64
    row = {
        "description": "d", "defense": "none", "data": "d", "licence": "MIT", "link": "https://example.org/x",
        "weights_sha256": sha, "cases": 2, "clean_std": 1.0, "drop_ci_low": None, "drop_ci_high": None, "claims": [],
        "doctor": "1 flag: steps", "submitted": {"by": NASTY, "date": "2026-11-01"}, "robust3d": "0.1.0", "file": "f",
    }  # fmt: skip
    rows = [
        row | {"model": model, "clean_dsc": clean, "attacks": {"a": worst}, "worst_dsc": worst, "best_known_dsc": worst}
        | {"drop": clean - worst}
        for model, clean, worst in (("robust", 80.0, 60.0), ("natural", 90.0, 5.0))
    ]  # fmt: skip
    threat = {"norm": "linf", "epsilon": 10.2, "unit": "HU", "valid": [-100, 240]}
    table = {"benchmark": "bench", "threat": threat, "seed": 0, "cases": ["x", "y"], "attacks": ["a"], "rows": rows}
    folder = tmp_path_factory.mktemp("site")
    write_site(Board.model_validate_json(json.dumps({"schema": 1, "tables": [table]})), folder)
    return folder
