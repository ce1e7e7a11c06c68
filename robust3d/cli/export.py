# SPDX-License-Identifier: Apache-2.0
"""``robust3d export``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console


def export(folder: Path, *, format: Literal["latex", "summary", "parquet"], out: Path | None = None) -> None:
    """Write the results of a run in another format.

    Parameters
    ----------
    folder
        Folder of the run, or its results.jsonl.
    format
        latex: leaderboard.tex (booktabs). summary: summary/MODEL__ATTACK/summary.json in the shape of nnU-Net's.
        parquet: results.parquet, one row a cell (needs pyarrow).
    out
        Folder for the files; that of the results by default.
    """
    from robust3d.benchmarks.results import read_results
    from robust3d.foundation.files import make_folder
    from robust3d.report.exports import EXPORTS

    results = read_results(folder)
    written = EXPORTS[format](results, make_folder(out or results.path.parent))
    console = Console(highlight=False)
    for path in written:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
