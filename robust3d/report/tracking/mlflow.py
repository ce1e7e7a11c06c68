# SPDX-License-Identifier: Apache-2.0
"""MLflow: the server of MLFLOW_TRACKING_URI, or files in ``OUT/mlruns``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robust3d.foundation.files import write_text

_RUN = "mlflow-run.txt"
"""File of the run folder with the ID of its run, so that a resumed one goes on."""

_LONGEST = 500
"""Signs that MLflow keeps of a parameter."""


class MLflowTracker:
    """Logs one MLflow run, in the experiment ``robust3d`` unless MLFLOW_EXPERIMENT_NAME says another.

    Parameters
    ----------
    out : Path
        Folder of the run.
    name : str
        Name of the MLflow run.
    """

    def __init__(self, out: Path, name: str) -> None:
        # MLflow reports its use to its makers unless told not to, and warns of plain files as a store.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient

        store = os.environ.get("MLFLOW_TRACKING_URI") or (out / "mlruns").resolve().as_uri()
        self._client = MlflowClient(tracking_uri=store)
        self._run = self._resumed(out / _RUN) or self._started(name)
        write_text(out / _RUN, f"{self._run}\n")

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log settings; MLflow refuses to change one that a resumed run has, and those stay."""
        known = self._client.get_run(self._run).data.params
        for name, value in values.items():
            if _name(name) not in known:
                self._client.log_param(self._run, _name(name), str(value)[:_LONGEST])

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log metrics."""
        for name, value in values.items():
            self._client.log_metric(self._run, _name(name), value, step=step)

    def artefact(self, path: Path) -> None:
        """Log a file."""
        self._client.log_artifact(self._run, str(path))

    def close(self, *, failed: bool) -> None:
        """Mark the run as finished or failed."""
        self._client.set_terminated(self._run, status="FAILED" if failed else "FINISHED")

    def _resumed(self, file: Path) -> str | None:
        from mlflow.exceptions import MlflowException

        if not file.is_file():
            return None
        run = file.read_text(encoding="utf-8").strip()
        try:
            self._client.update_run(run, status="RUNNING")
        except MlflowException:
            # Of another store, or deleted.
            return None
        return run

    def _started(self, name: str) -> str:
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "robust3d")
        found = self._client.get_experiment_by_name(experiment)
        identity = self._client.create_experiment(experiment) if found is None else found.experiment_id
        return str(self._client.create_run(identity, run_name=name).info.run_id)


def _name(name: str) -> str:
    """Return a name of the signs that MLflow takes."""
    return re.sub(r"[^\w\-. /:]", "_", name)
