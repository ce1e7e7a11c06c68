# SPDX-License-Identifier: Apache-2.0
"""Figure: drop against the volume of the organ."""

from __future__ import annotations

from matplotlib.figure import Figure

from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.results import Results
from robust3d.report.html.board import case_scores
from robust3d.report.html.style import COLOURS, MARKERS, drawing, short


def organ_points(results: Results, model: str) -> list[tuple[float, float]]:
    """Return for every case the true foreground in 1000 voxels, and the drop in points.

    The drop is the clean DSC minus the lowest under an attack within epsilon; cases without such an attack are left
    out.
    """
    points = []
    for case in results.rows.get((model, CLEAN), ()):
        clean, worst = case_scores(results, model, case)
        if clean is not None and worst is not None:
            voxels = sum(one.tp + one.fn for one in results.cells[model, CLEAN, case].classes.values())
            points.append((voxels / 1000, clean - worst))
    return points


def organ_figure(results: Results) -> Figure | None:
    """Draw one mark a case and model; nothing where no attack keeps to epsilon."""
    series = {model: organ_points(results, model) for model in results.models}
    if not any(series.values()):
        return None
    with drawing():
        figure = Figure(figsize=(5.4, 3.6), layout="constrained")
        frame = figure.subplots()
        for number, (model, points) in enumerate(series.items()):
            frame.scatter(
                [size for size, _ in points],
                [drop for _, drop in points],
                s=22,
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                label=short(model),
            )
        frame.set_xlabel("true organ volume, 1000 voxels")
        frame.set_ylabel("drop to the worst attack, points of DSC")
        frame.grid(alpha=0.25)
        frame.legend(loc="best")
    return figure
