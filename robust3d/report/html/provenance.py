# SPDX-License-Identifier: Apache-2.0
"""Where every number comes from: commands, costs, hashes, versions, settings and cards."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.results import CellKey, ResultCell, Results
from robust3d.foundation.collections import Collections, Kind
from robust3d.report.web.table import Column, Entry, TableView
from robust3d.zoo.load import split_name

_COSTS = {
    "gradients": ("gradients", "whole-volume gradients a case, mean"),
    "queries": ("queries", "whole-volume predictions that the attack asked for a case, mean"),
    "forward_windows": ("forward windows", "windows through the network without gradient a case, mean"),
    "gradient_windows": ("gradient windows", "windows through the network with gradient a case, mean"),
    "seconds": ("seconds", "wall time of attack and evaluation a case, mean, seconds"),
    "linf": ("largest change", "largest change of a voxel in any case, from the clipped clean volume, volume's unit"),
}


def cost_view(results: Results, records: Mapping[CellKey, dict[str, Any]]) -> TableView:
    """Return one row a model and attack: cases and cost."""
    columns = [
        Column("model", "name of the model", numeric=False),
        Column("attack", "name of the attack", numeric=False),
        Column("cases", "number of cases"),
        *(Column(*about) for about in _COSTS.values()),
    ]
    rows = []
    for (model, attack), cases in results.rows.items():
        cells = [results.cells[model, attack, case] for case in cases]
        row = [Entry(model), Entry(attack), Entry(str(len(cases)), str(len(cases)))]
        for key in _COSTS:
            numbers = [records[cell.key][key] for cell in cells if key in records[cell.key]]
            number = None if not numbers else max(numbers) if key == "linf" else float(np.mean(numbers))
            row.append(Entry("n/a") if number is None else Entry(f"{number:.4g}", str(number)))
        rows.append(row)
    return TableView(columns, rows)


def commands(results: Results) -> dict[str, list[tuple[str, str]]]:
    """Return by model every attack with the command that measures its row anew."""
    found: dict[str, list[tuple[str, str]]] = {}
    for (model, attack), cases in results.rows.items():
        found.setdefault(model, []).append((attack, command(results, results.cells[model, attack, cases[0]])))
    return found


def command(results: Results, cell: ResultCell) -> str:
    """Return the shell command that measures the row of a cell anew."""
    attacks = results.attacks(cell.model)
    # Every run measures the clean cells; an attack that changes nothing costs least beside them.
    attack = cell.attack if cell.attack != CLEAN else next((one for one in attacks if one != CLEAN), "identity")
    precision = "fast" if "bfloat16" in str(cell.settings.pipeline) else "exact"
    words = ["robust3d", "run", cell.benchmark, "--model", cell.model, "--attack", attack]
    epsilon = cell.threat["epsilon"]
    for one in epsilon if isinstance(epsilon, list) else [epsilon]:
        words += ["--epsilon", str(one)]
    words += ["--seed", str(cell.seed)]
    words += ["--storage", str(cell.threat["storage"]), "--precision", precision, "--out", "runs/again"]
    return shlex.join(words)


def environments(records: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return versions, device and threads, as text, with the number of cells that each measured."""
    found: dict[str, int] = {}
    for record in records:
        text = ", ".join(f"{key} {value}" for key, value in sorted(record["environment"].items()))
        found[text] = found.get(text, 0) + 1
    return list(found.items())


def settings(results: Results) -> list[tuple[str, str, str]]:
    """Return kind, name and JSON of every model's pipeline and every attack, from the results themselves."""
    found: dict[tuple[str, str], str] = {}
    for cell in results.cells.values():
        found.setdefault(("model", cell.model), json.dumps(cell.settings.pipeline, indent=1, sort_keys=True))
        if cell.settings.attack is not None:
            found.setdefault(("attack", cell.attack), json.dumps(cell.settings.attack, indent=1, sort_keys=True))
    return [(*name, text) for name, text in found.items()]


def cards(results: Results, collections: Collections) -> list[tuple[str, str, str]]:
    """Return kind, name and text of the cards that are found now; those of other collections are left out."""
    wanted: list[tuple[Kind, str]] = [("benchmarks", results.first.benchmark)]
    wanted += [("zoo", split_name(model)[0]) for model in results.models]
    wanted += [("attacks", attack.partition("@")[0]) for _, attack in results.rows if attack != CLEAN]
    found: list[tuple[str, str, str]] = []
    for kind, name in dict.fromkeys(wanted):
        path = collections.entries(kind).get(name)
        if path is not None:
            found.append((kind, name, path.read_text(encoding="utf-8")))
    return found
