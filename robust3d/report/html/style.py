# SPDX-License-Identifier: Apache-2.0
"""The look of the figures: colours for the colour-blind, and SVG that follows the reader's dark or light scheme."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
"""Of Okabe and Ito, told apart with every common colour vision, on white and on black."""

MARKERS = "osD^vP"
"""One a series too, so that no figure rests on colour alone."""

INK = "#010203"
"""Stands for the colour of text until the file is written."""

_SCHEME = "<style>svg{color:#1b1b1b}@media (prefers-color-scheme:dark){svg{color:#e4e4e4}}</style>"


@contextmanager
def drawing() -> Iterator[None]:
    """Draw within this block: ink that follows the reader's scheme, and names as they are, never as mathematics."""
    with mpl.rc_context(
        {
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "text.parse_math": False,
            "svg.hashsalt": "robust3d",
            "font.size": 9,
            "legend.framealpha": 0.0,
        }
    ):
        yield


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure without a background; equal figures give equal bytes."""
    stream = StringIO()
    with drawing():
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue().replace(INK, "currentColor")
    path.write_text(re.sub(r"(<svg\b[^>]*>)", lambda found: found[1] + _SCHEME, text, count=1), encoding="utf-8")


def short(name: str, length: int = 28) -> str:
    """Return a name that fits a label."""
    return name if len(name) <= length else name[: length - 1] + "…"


def name_places(frame: Axes, names: Sequence[str]) -> None:
    """Write names under the places 0, 1, 2... of a frame."""
    frame.set_xticks(range(len(names)), [short(name) for name in names], rotation=30, ha="right")
