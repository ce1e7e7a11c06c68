# SPDX-License-Identifier: Apache-2.0
"""Leaderboard: one row a model, from the counts of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import pandas as pd

from robust3d.benchmarks.cell import CLEAN
from robust3d.metrics.statistics import Drop, paired_drop, summarise

DEFINITIONS = {
    "model": "name of the model",
    "cases": "number of test cases, the same for every column",
    "clean_dsc": "mean over cases of the DSC of the deployed prediction on the clean volume, percent",
    "clean_std": "standard deviation over cases of the clean DSC, points",
    "clean_min": "lowest clean DSC, percent",
    "clean_max": "highest clean DSC, percent",
    "worst_dsc": "mean over cases of the lowest DSC that any attack within epsilon reaches on the case, percent",
    "drop": "clean mean minus the lowest mean under an attack within epsilon, points",
    "drop_ci_low": "lower end of the paired bootstrap 95% interval of the drop, points",
    "drop_ci_high": "upper end of the paired bootstrap 95% interval of the drop, points",
}
"""What each column means; ``<attack>_dsc`` is the mean DSC under that attack, percent."""


def leaderboard(records: Sequence[dict[str, Any]], models: Sequence[str], attacks: Sequence[str]) -> pd.DataFrame:
    """Return one row a model; DSC in percent, rounded to two decimals; NaN for a model without a complete case.

    Parameters
    ----------
    records : sequence of dict
        Finished cells.
    models, attacks : sequence of str
        Rows and attack columns in order.
    """
    unbounded = {record["attack"] for record in records if not record["bounded"]}
    rows: list[dict[str, Any]] = []
    for model in models:
        table = complete_cases(records, model, attacks)
        if table.empty:
            rows.append({"model": model, "cases": 0})
            continue
        clean = summarise(table[CLEAN].tolist())
        means = {attack: float(table[attack].mean()) for attack in attacks}
        bounded = [attack for attack in attacks if attack not in unbounded]
        drop, worst = Drop(nan, nan, nan), nan
        if bounded:
            strongest = min(bounded, key=lambda attack: means[attack])
            drop = paired_drop(table[CLEAN].tolist(), table[strongest].tolist())
            worst = float(table[bounded].min(axis=1).mean())
        rows.append(
            {
                "model": model,
                "cases": len(table),
                "clean_dsc": clean.mean,
                "clean_std": clean.std,
                "clean_min": clean.min,
                "clean_max": clean.max,
                **{f"{attack}_dsc": mean for attack, mean in means.items()},
                "worst_dsc": worst,
                "drop": drop.mean,
                "drop_ci_low": drop.low,
                "drop_ci_high": drop.high,
            }
        )
    middle = [f"{attack}_dsc" for attack in attacks]
    columns = [*list(DEFINITIONS)[:6], *middle, *list(DEFINITIONS)[6:]]
    return pd.DataFrame(rows, columns=columns).round(2)


def is_cross_validated(records: Sequence[dict[str, Any]]) -> bool:
    """Return whether a fold of a model, not the model itself, evaluated any of the cells."""
    return any((record.get("member") or record["model"]) != record["model"] for record in records)


def complete_cases(records: Sequence[dict[str, Any]], model: str, attacks: Sequence[str]) -> pd.DataFrame:
    """Return DSC in percent by case and attack, for the cases of which nothing is missing."""
    own = [record for record in records if record["model"] == model]
    frame = pd.DataFrame(
        {
            "case": [one["case"] for one in own],
            "attack": [one["attack"] for one in own],
            "dsc": [one["dsc"] for one in own],
        }
    )
    table = frame.pivot(index="case", columns="attack", values="dsc").reindex(columns=[CLEAN, *attacks])
    return table.dropna() * 100
