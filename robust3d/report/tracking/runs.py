# SPDX-License-Identifier: Apache-2.0
"""What a run of a benchmark tells a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from robust3d.benchmarks.cell import Cell
from robust3d.benchmarks.run import Benchmark
from robust3d.report.tracking.tracker import Tracker, flat

FILES = ("leaderboard.csv", "leaderboard.md", "comparison.csv", "results.jsonl")
"""Files of a run folder that trackers get."""


def track_settings(tracker: Tracker, benchmark: Benchmark) -> None:
    """Log benchmark, threat model, seed, models and settings of attacks."""
    settings = {
        "benchmark": benchmark.name,
        "cases": len(benchmark.dataset.names),
        "seed": benchmark.seed,
        "models": ", ".join(benchmark.models),
        "threat": benchmark.threat.settings(),
        "attacks": {attack.name: attack.settings() for attack in benchmark.attacks},
    }
    tracker.parameters(flat(settings))


def track_cell(tracker: Tracker, benchmark: Benchmark, cell: Cell, record: Mapping[str, Any]) -> None:
    """Log a cell under ``MODEL/ATTACK``, the number of its case as the step; the DSC in percent."""
    values = {
        "dsc": 100 * record["dsc"],
        "linf": record["linf"],
        "gradients": record["gradients"],
        "queries": record["queries"],
        "seconds": record["seconds"],
    }
    step = list(benchmark.dataset.names).index(cell.case)
    tracker.metrics({f"{cell.model}/{cell.attack_name}/{name}": float(value) for name, value in values.items()}, step)


def track_leaderboard(tracker: Tracker, board: pd.DataFrame, folder: Path) -> None:
    """Log the rows of the leaderboard under ``leaderboard/MODEL``, and the files of the run folder."""
    for row in board.to_dict(orient="records"):
        figures = {str(key): float(value) for key, value in row.items() if key != "model"}
        finite = {key: value for key, value in figures.items() if isfinite(value)}
        tracker.metrics({f"leaderboard/{row['model']}/{key}": value for key, value in finite.items()}, 0)
    for name in FILES:
        tracker.artefact(folder / name)
