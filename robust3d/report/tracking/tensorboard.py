# SPDX-License-Identifier: Apache-2.0
"""TensorBoard: event files in ``OUT/tensorboard``, through tensorboardX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoardTracker:
    """Writes event files; parameters and files that are text appear under Text.

    Parameters
    ----------
    out : Path
        Folder of the run.
    name : str
        Not used: TensorBoard names a run by its folder.
    """

    def __init__(self, out: Path, name: str) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(out / "tensorboard"))

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log a table of settings."""
        rows = [f"| {name} | {value} |" for name, value in values.items()]
        self._writer.add_text("parameters", "\n".join(["| name | value |", "|---|---|", *rows]))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def artefact(self, path: Path) -> None:
        """Log a Markdown or text file; TensorBoard holds no others."""
        if path.suffix in (".md", ".txt"):
            self._writer.add_text(path.name, path.read_text(encoding="utf-8"))

    def close(self, *, failed: bool) -> None:
        """Flush and close the event file, which knows no end by error."""
        self._writer.close()
