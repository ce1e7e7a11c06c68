# SPDX-License-Identifier: Apache-2.0
"""The figures of a report's first page: all that the results have the numbers for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.leaderboard import complete_cases
from robust3d.benchmarks.results import Results
from robust3d.report.html.curves import curve_figure, epsilon_curves, step_curves
from robust3d.report.html.distribution import distribution_figure
from robust3d.report.html.organ import organ_figure
from robust3d.report.html.slope import slope_figure


@dataclass(frozen=True)
class Picture:
    """A figure with its file, relative to the page, and caption; a broad one takes a row of its own."""

    file: str
    caption: str
    figure: Figure
    broad: bool = False


def pictures(results: Results, further: Sequence[Results]) -> list[Picture]:
    """Return the figures of a run, and of the same benchmark at ``further`` epsilons."""
    found = []
    tables = _tables(results)
    if tables:
        caption = "Every case from clean to each attack (thin lines); the thick line is the mean."
        slope = slope_figure(tables)
        found.append(Picture("figures/slope.svg", caption, slope, _is_broad(slope)))
    organ = organ_figure(results)
    if organ is not None:
        caption = "Drop to the worst attack within epsilon against the true volume of the organ, one mark a case."
        found.append(Picture("figures/organ.svg", caption, organ))
    by_epsilon = epsilon_curves([results, *further])
    if by_epsilon:
        figure = curve_figure(by_epsilon, f"epsilon, {results.first.threat['unit']}")
        found.append(Picture("figures/epsilon.svg", "Mean DSC against epsilon; 0 is the clean volume.", figure))
    by_steps = step_curves(results)
    if by_steps:
        caption = "Mean DSC against steps, for attacks that differ in nothing else."
        found.append(Picture("figures/steps.svg", caption, curve_figure(by_steps, "steps")))
    caption = "DSC over cases by class: box from first to third quartile, line at the median, one mark a case."
    classes = distribution_figure(results)
    found.append(Picture("figures/classes.svg", caption, classes, _is_broad(classes)))
    return found


def _is_broad(figure: Figure) -> bool:
    """Return whether a figure, whose width is in inches, is too wide to stand beside another."""
    return bool(figure.get_figwidth() > 8)


def _tables(results: Results) -> dict[str, pd.DataFrame]:
    """Return by model the DSC in percent, a row a case and a column an attack, of cases that all of them have."""
    tables = {}
    for model in results.models:
        attacks = [attack for attack in results.attacks(model) if attack != CLEAN]
        table = complete_cases([cell.model_dump() for cell in results.cells_of(model)], model, attacks)
        if not table.empty:
            tables[model] = table
    return tables
