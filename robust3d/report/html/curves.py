# SPDX-License-Identifier: Apache-2.0
"""Figures: mean DSC against epsilon and against the number of steps, where the results hold more than one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.results import ResultCell, Results
from robust3d.foundation.digest import canonical_json
from robust3d.foundation.errors import InputError
from robust3d.report.html.style import COLOURS, MARKERS, drawing, short

Curves = dict[tuple[str, str], list[tuple[float, float]]]
"""By model and attack: epsilon or steps, and mean DSC in percent, in rising order."""


def epsilon_curves(runs: Sequence[Results]) -> Curves:
    """Return mean DSC by epsilon, the clean one as epsilon 0.

    Raises
    ------
    InputError
        If two runs differ in more than epsilon: benchmark, seed, other parts of the threat model, cases, weights or
        attack settings; or have the same epsilon.
    """
    first = runs[0]
    seen: dict[float, Results] = {}
    for run in runs:
        epsilon = run.threat.epsilon
        if epsilon in seen:
            raise InputError(f"{run.path} and {seen[epsilon].path} have the same epsilon {epsilon}; leave one out")
        seen[epsilon] = run
        for what, here, there in (
            ("benchmark", run.first.benchmark, first.first.benchmark),
            ("seed", run.first.seed, first.first.seed),
            ("threat model", run.first.threat | {"epsilon": 0}, first.first.threat | {"epsilon": 0}),
        ):
            if here != there:
                raise InputError(f"{run.path} has {what} {here} and {first.path} {there}; only epsilon may differ")
        for key, cell in run.cells.items():
            other = first.cells.get(key)
            if other is not None and _identity(cell) != _identity(other):
                raise InputError(
                    f"{', '.join(key)} in {run.path} has other weights, data or settings than {first.path}"
                )
    if len(runs) == 1:
        return {}
    curves: Curves = {}
    for (model, attack), cases in first.rows.items():
        if attack == CLEAN or not first.cells[model, attack, cases[0]].bounded or (model, CLEAN) not in first.rows:
            continue
        points = [(0.0, _mean(first, model, CLEAN))]
        for epsilon, run in sorted(seen.items()):
            if (model, attack) not in run.rows:
                continue
            if set(run.rows[model, attack]) != set(cases):
                raise InputError(f"{attack} on {model} has other cases in {run.path} than in {first.path}")
            points.append((epsilon, _mean(run, model, attack)))
        if len(points) > 2:
            curves[model, attack] = points
    return curves


def step_curves(results: Results) -> Curves:
    """Return mean DSC by number of steps, for attacks that differ in name and steps alone."""
    groups: dict[tuple[str, str], dict[int, str]] = {}
    for (model, attack), cases in results.rows.items():
        settings = results.cells[model, attack, cases[0]].settings.attack or {}
        if isinstance(settings.get("steps"), int):
            rest = {key: value for key, value in settings.items() if key not in ("name", "steps")}
            groups.setdefault((model, canonical_json(rest)), {})[settings["steps"]] = attack
    curves: Curves = {}
    for (model, _), attacks in groups.items():
        if len(attacks) > 1:
            points = [(float(steps), _mean(results, model, attack)) for steps, attack in sorted(attacks.items())]
            curves[model, " to ".join((attacks[min(attacks)], attacks[max(attacks)]))] = points
    return curves


def curve_figure(curves: Curves, label: str) -> Figure:
    """Draw one line a model and attack: colour and mark tell the attack, solid or dashed the model."""
    models = list(dict.fromkeys(model for model, _ in curves))
    attacks = list(dict.fromkeys(attack for _, attack in curves))
    with drawing():
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        frame = figure.subplots()
        for (model, attack), points in curves.items():
            place, line = attacks.index(attack), ("-", "--", ":", "-.")[models.index(model) % 4]
            frame.plot(
                [x for x, _ in points],
                [y for _, y in points],
                color=COLOURS[place % len(COLOURS)],
                marker=MARKERS[place % len(MARKERS)],
                linestyle=line,
                label=f"{short(model)}, {short(attack)}",
            )
        frame.set_xlabel(label)
        frame.set_ylabel("mean DSC, percent")
        frame.set_ylim(-3, 103)
        frame.grid(alpha=0.25)
        figure.legend(loc="outside right upper")
    return figure


def _mean(results: Results, model: str, attack: str) -> float:
    return 100 * float(np.mean([results.cells[model, attack, case].dsc for case in results.rows[model, attack]]))


def _identity(cell: ResultCell) -> tuple[object, ...]:
    return cell.model_sha256, cell.volume_sha256, cell.settings.pipeline, cell.settings.attack
