# SPDX-License-Identifier: Apache-2.0
"""Figure: the attack's loss before each of its gradient steps on one case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from robust3d.report.html.style import COLOURS, MARKERS, drawing, short


def trace_figure(traces: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure | None:
    """Draw one frame an attack, one line a model; nothing where no attack took two gradients.

    Losses of different attacks have different units, so each frame has an axis of its own.

    Parameters
    ----------
    traces : mapping
        By attack and model, the loss before each step, restarts and members of an ensemble in a row.
    """
    shown = {attack: lines for attack, lines in traces.items() if any(len(line) > 1 for line in lines.values())}
    if not shown:
        return None
    with drawing():
        figure = Figure(figsize=(1 + 3.2 * len(shown), 3), layout="constrained")
        frames = figure.subplots(1, len(shown), squeeze=False)[0]
        for frame, (attack, lines) in zip(frames, shown.items(), strict=True):
            for number, (model, line) in enumerate(lines.items()):
                frame.plot(
                    range(1, len(line) + 1),
                    line,
                    color=COLOURS[number % len(COLOURS)],
                    marker=MARKERS[number % len(MARKERS)],
                    markersize=4,
                    label=short(model),
                )
            frame.set_title(short(attack))
            frame.set_xlabel("gradient")
            frame.locator_params(axis="x", integer=True)
            frame.grid(alpha=0.25)
        frames[0].set_ylabel("loss of the attack")
        frames[0].legend(loc="best")
    return figure
