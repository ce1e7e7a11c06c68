# SPDX-License-Identifier: Apache-2.0
"""A leaderboard as a LaTeX table (package booktabs)."""

from __future__ import annotations

import pandas as pd

from robust3d.benchmarks.leaderboard import DEFINITIONS
from robust3d.report.tables import texts
from robust3d.threat.model import ThreatModel

_SPECIAL = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
}


def leaderboard_latex(board: pd.DataFrame, threat: ThreatModel, title: str, *, extremes: bool = False) -> str:
    """Return the leaderboard as a ``table`` environment; its caption tells threat model, units and definitions.

    ``extremes`` adds the lowest and highest clean DSC.
    """
    worst, drop = (DEFINITIONS[name].rsplit(", ", 1)[0] for name in ("worst_dsc", "drop"))
    caption = (
        f"{title}. Threat model: {threat}. DSC in percent, mean over cases (clean: with standard deviation). "
        f"Worst: {worst}. Drop: {drop}, in points, with its paired bootstrap 95% interval."
    )
    table = texts(board, extremes=extremes)
    return table.to_latex(
        index=False,
        escape=True,
        caption=_escape(caption),
        label="tab:robust3d",
        column_format="l" + "r" * (table.shape[1] - 1),
        position="tbp",
    )


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(sign, sign) for sign in text)
