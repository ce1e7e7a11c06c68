# SPDX-License-Identifier: Apache-2.0
"""Weights & Biases: offline files in ``OUT/wandb`` unless WANDB_MODE says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class WandbTracker:
    """Logs one W&B run, in the project ``robust3d`` unless WANDB_PROJECT says another.

    Parameters
    ----------
    out : Path
        Folder of the run.
    name : str
        Name of the W&B run.
    """

    def __init__(self, out: Path, name: str) -> None:
        import wandb

        self._run = wandb.init(
            dir=str(out),
            name=name,
            project=os.environ.get("WANDB_PROJECT", "robust3d"),
            mode=os.environ.get("WANDB_MODE", "offline"),
        )
        # W&B wants one rising step for everything, and a stage of training starts at 1 again.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log settings."""
        self._run.config.update(dict(values))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log metrics, with their step as a metric of its own."""
        self._run.log({**values, "step": step})

    def artefact(self, path: Path) -> None:
        """Log a file."""
        self._run.save(str(path), base_path=str(path.parent), policy="now")

    def close(self, *, failed: bool) -> None:
        """Finish the run."""
        self._run.finish(exit_code=int(failed))
