# SPDX-License-Identifier: Apache-2.0
"""Figure: every case from clean to each attack."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from robust3d.report.html.style import COLOURS, INK, MARKERS, drawing, name_places, short


def slope_figure(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw one frame a model, one thin line a case and the mean as a thick one.

    Parameters
    ----------
    tables : dict
        By model: DSC in percent, a row a case, the columns ``clean`` and the attacks.
    """
    with drawing():
        figure = Figure(figsize=(1.0 + 2.6 * len(tables), 3.4), layout="constrained")
        frames = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
        for number, (frame, (model, table)) in enumerate(zip(frames, tables.items(), strict=True)):
            places = np.arange(table.shape[1])
            for values in table.to_numpy():
                frame.plot(places, values, color=INK, alpha=0.3, linewidth=0.9, marker=".", markersize=3)
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            frame.plot(places, table.mean(), color=colour, linewidth=2.6, marker=marker, label="mean")
            name_places(frame, table.columns.tolist())
            frame.set_title(short(model, 24))
            frame.set_ylim(-3, 103)
            frame.grid(axis="y", alpha=0.25)
        frames[0].set_ylabel("DSC, percent")
    return figure
