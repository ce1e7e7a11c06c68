# SPDX-License-Identifier: Apache-2.0
"""Results in the shape of nnU-Net's ``summary.json``, for scripts that read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from robust3d.benchmarks.results import ClassCounts, ResultCell


def nnunet_summary(cells: Sequence[ResultCell]) -> dict[str, Any]:
    """Return the content of ``summary.json`` for the cells of one model and attack.

    ``metric_per_case`` holds ``Dice`` and ``IoU`` from 0 to 1 and voxel counts by class, ``mean`` their means over
    cases and ``foreground_mean`` the means of these over classes. Where label and prediction are both empty, ``Dice``
    and ``IoU`` are 1, as everywhere in robust3d, and not NaN, as in nnU-Net: so means are over the same cases under
    every attack.
    """
    per_case = [
        {
            "metrics": {label: _metrics(counts) for label, counts in cell.classes.items()},
            "prediction_file": cell.case,
            "reference_file": cell.case,
        }
        for cell in cells
    ]
    by_class = {label: _mean([_metrics(cell.classes[label]) for cell in cells]) for label in cells[0].classes}
    return {"foreground_mean": _mean(list(by_class.values())), "mean": by_class, "metric_per_case": per_case}


def _metrics(counts: ClassCounts) -> dict[str, float]:
    tp, fp, fn = counts.tp, counts.fp, counts.fn
    return {
        "Dice": counts.dsc / 100,
        "FN": fn,
        "FP": fp,
        "IoU": tp / (tp + fp + fn) if tp + fp + fn else 1.0,
        "TN": counts.tn,
        "TP": tp,
        "n_pred": tp + fp,
        "n_ref": tp + fn,
    }


def _mean(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in metrics])) for name in metrics[0]}
