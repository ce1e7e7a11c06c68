# SPDX-License-Identifier: Apache-2.0
"""Which of two attacks is stronger: paired differences over the same cases."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from robust3d.benchmarks.leaderboard import complete_cases
from robust3d.metrics.statistics import paired_drop


def compare_attacks(records: Sequence[dict[str, Any]], models: Sequence[str], attacks: Sequence[str]) -> pd.DataFrame:
    """Return one row a model and pair of attacks.

    ``difference`` is the mean over cases of the DSC under ``attack`` minus that under ``against``, in points, with its
    paired bootstrap 95% interval: positive where ``against`` is the stronger attack.

    Parameters
    ----------
    records : sequence of dict
        Finished cells.
    models, attacks : sequence of str
        In the order of the leaderboard.
    """
    rows = []
    for model in models:
        table = complete_cases(records, model, attacks)
        if table.empty:
            continue
        for attack, against in combinations(attacks, 2):
            difference = paired_drop(table[attack].tolist(), table[against].tolist())
            rows.append(
                {
                    "model": model,
                    "cases": len(table),
                    "attack": attack,
                    "against": against,
                    "difference": difference.mean,
                    "ci_low": difference.low,
                    "ci_high": difference.high,
                }
            )
    columns = ["model", "cases", "attack", "against", "difference", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=columns).round(2)
