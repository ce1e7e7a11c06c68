# SPDX-License-Identifier: Apache-2.0
"""Figure: distribution of the DSC over cases, a frame a class."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from robust3d.benchmarks.results import Results
from robust3d.report.html.style import COLOURS, MARKERS, drawing, name_places, short


def distribution_figure(results: Results) -> Figure:
    """Draw quartiles as a box and every case as a mark, side by side for the models."""
    classes = sorted({label for cell in results.cells.values() for label in cell.classes}, key=int)
    attacks = list(dict.fromkeys(attack for _, attack in results.rows))
    width = 0.8 / len(results.models)
    with drawing():
        figure = Figure(figsize=(max(6.4, 1.4 + 0.5 * len(attacks) * len(results.models)), 3.4 * len(classes)))
        figure.set_layout_engine("constrained")
        frames = figure.subplots(len(classes), 1, squeeze=False)[:, 0]
        for frame, label in zip(frames, classes, strict=True):
            for number, model in enumerate(results.models):
                colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
                for place, attack in enumerate(attacks):
                    cells = [one for one in results.cells_of(model) if one.attack == attack and label in one.classes]
                    if not cells:
                        continue
                    scores = np.array([one.classes[label].dsc for one in cells])
                    centre = place + (number - (len(results.models) - 1) / 2) * width
                    frame.boxplot(
                        scores, positions=[centre], widths=width * 0.8, showfliers=False, manage_ticks=False,
                        medianprops={"color": colour, "linewidth": 2}, boxprops={"color": colour},
                        whiskerprops={"color": colour}, capprops={"color": colour},
                    )  # fmt: skip
                    # Spread out by rank, not at random, so that equal results give equal figures.
                    spread = np.linspace(-0.25, 0.25, len(scores)) * width
                    named = {"label": short(model)} if place == 0 else {}
                    frame.scatter(centre + spread, scores, s=9, color=colour, marker=marker, alpha=0.6, **named)
            name_places(frame, attacks)
            frame.set_ylim(-3, 103)
            frame.set_ylabel(f"DSC of class {label}, percent")
            frame.grid(axis="y", alpha=0.25)
            frame.legend(loc="lower left")
    return figure
