# SPDX-License-Identifier: Apache-2.0
"""Hand-made cells of results.jsonl for tests of the gate."""

import json
from pathlib import Path
from typing import Any

SIZE = 1_000_000
"""Voxels of every structure, so that a DSC is met to four decimals of a percent."""


def cell(model: str, attack: str, case: str, *scores: float, **changes: Any) -> dict[str, Any]:
    """Return a cell with the given DSC, percent, of classes 1, 2...; ``a__b=1`` replaces key b of key a."""
    classes = {}
    for label, score in enumerate(scores, start=1):
        hits = round(score / 100 * SIZE)
        classes[str(label)] = {"tp": hits, "fp": SIZE - hits, "fn": SIZE - hits, "tn": 0}
    content = {
        "schema": 2,
        "benchmark": "bench",
        "model": model,
        "attack": attack,
        "case": case,
        "seed": 0,
        "bounded": True,
        "threat": {"norm": "linf", "epsilon": 10.2, "unit": "HU", "valid": [-100.0, 240.0], "storage": "float32"},
        "dsc": sum(one["tp"] for one in classes.values()) / SIZE / len(classes),
        "classes": classes,
        "model_sha256": "m" * 64,
        "volume_sha256": f"volume of {case}",
        "settings": {
            "pipeline": {"coarse": {"gradients": "float32", "window": [32, 32, 32]}},
            "attack": None if attack == "clean" else {"name": attack, "steps": 5, "step_size": 3.4},
        },
        "environment": {"device": "cpu"},
    }
    for name, value in changes.items():
        *path, last = name.split("__")
        inner = content
        for key in path:
            inner = inner[key]
        inner[last] = value
    return content


def table(scores: dict[str, list[float]], model: str = "m", **changes: Any) -> list[dict[str, Any]]:
    """Return cells of one model and class from DSC by attack, a value a case."""
    return [
        cell(model, attack, f"case_{number}", score, **changes)
        for attack, values in scores.items()
        for number, score in enumerate(values)
    ]


def write(folder: Path, cells: list[dict[str, Any]]) -> Path:
    """Write ``results.jsonl`` into a folder, made if it is not there, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in cells))
    return folder
