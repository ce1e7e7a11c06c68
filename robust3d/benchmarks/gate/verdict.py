# SPDX-License-Identifier: Apache-2.0
"""The verdict: rows whose loss is both larger than tolerated and more than noise."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, isinf, isnan

import numpy as np

from robust3d.benchmarks.gate.compare import Comparison
from robust3d.foundation.errors import InputError
from robust3d.metrics.simultaneous import Method, losses_above_zero, smallest_detectable

BLIND = 5.0
"""Points of DSC: a warning is given where the cases cannot show a loss of this size."""

DEFINITIONS = {
    "model": "name of the model",
    "attack": "name of the attack; clean: none; worst: case by case the lowest DSC of all attacks within epsilon",
    "class": "label of the structure",
    "baseline": "mean over cases of the DSC in the baseline, percent",
    "results": "mean over cases of the DSC in the results, percent",
    "loss": "mean over cases of the paired difference baseline minus results, points; positive is worse",
    "at least": "lower end of the one-sided interval of the loss that holds for all rows together, points",
    "p": "probability of a loss as significant in any row where nothing but noise changed",
    "largest": "largest loss of a single case, points, and the case",
    "detectable": "smallest true loss that would be found in 80 of 100 repetitions, points; n/a without spread",
}
"""What each column means."""


@dataclass(frozen=True)
class RowVerdict:
    """One row judged; DSC in percent, differences in points.

    Parameters
    ----------
    model, attack, label : str
        See :class:`~robust3d.benchmarks.gate.compare.PairedRow`.
    baseline, results, loss, low, p, largest, detectable : float
        See ``DEFINITIONS`` (``low``: "at least").
    case : str
        Case with the largest loss.
    regression : bool
        Whether the loss is larger than the tolerance and significantly above zero.
    """

    model: str
    attack: str
    label: str
    baseline: float
    results: float
    loss: float
    low: float
    p: float
    largest: float
    case: str
    detectable: float
    regression: bool

    @property
    def name(self) -> str:
        """Model, attack and class in words."""
        return f"{self.model}, {self.attack}, class {self.label}"


@dataclass(frozen=True)
class Verdict:
    """All rows judged together.

    Parameters
    ----------
    rows : tuple of RowVerdict
        In the order of the comparison.
    cases : int
        Number of paired cases.
    tolerance : float
        Loss that is never a regression, points.
    confidence : float
        One minus the probability of any false alarm in the whole gate.
    method : str
        How significance was decided, ``"sign flips"`` or ``"Bonferroni t"``.
    notes : tuple of str
        What differs though it may.
    """

    rows: tuple[RowVerdict, ...]
    cases: int
    tolerance: float
    confidence: float
    method: Method
    notes: tuple[str, ...]

    @property
    def regressions(self) -> tuple[RowVerdict, ...]:
        """Rows that regressed, the largest loss first."""
        return tuple(sorted((row for row in self.rows if row.regression), key=lambda row: -row.loss))

    @property
    def passed(self) -> bool:
        """Whether no row regressed."""
        return not self.regressions

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        judged = f"{len(self.rows)} rows of {self.cases} paired cases"
        if self.passed:
            return f"pass: no regression in {judged}"
        return f"regression: {len(self.regressions)} of {judged} lost DSC"

    @property
    def power(self) -> str:
        """How small a loss these cases can show, in one sentence."""
        known = [row for row in self.rows if not isnan(row.detectable)]
        if not known:
            return "the differences have no spread, so the smallest detectable loss is not known"
        blind = max(known, key=lambda row: row.detectable)
        if isinf(blind.detectable):
            return f"{self.cases} cases are too few to show any loss in {blind.name}"
        return (
            f"a loss of {blind.detectable:.1f} points or more would be found in every row "
            f"(80 of 100 times; hardest: {blind.name})"
        )

    @property
    def warning(self) -> str | None:
        """A warning if some row could not show a loss of 5 points, else ``None``."""
        blind = [row for row in self.rows if row.detectable > BLIND]
        if not blind:
            return None
        return (
            f"{len(blind)} of {len(self.rows)} rows cannot show a loss of {BLIND:g} points with {self.cases} cases; "
            "a pass says little about them, add cases"
        )


def judge(comparison: Comparison, *, tolerance: float = 1.0, confidence: float = 0.95) -> Verdict:
    """Judge all rows of a comparison together.

    Parameters
    ----------
    comparison : Comparison
        Paired rows.
    tolerance : float
        Mean loss that is never a regression, points of DSC.
    confidence : float
        One minus the probability of any false alarm in the whole gate where nothing but noise changed.

    Raises
    ------
    InputError
        If there are fewer than two cases, or a setting is out of its range.
    """
    if not (isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"tolerance {tolerance} must be zero or a positive number of points")
    differences = np.column_stack([row.baseline - row.results for row in comparison.rows])
    tests = losses_above_zero(differences, confidence=confidence)
    rows = []
    for number, row in enumerate(comparison.rows):
        loss = float(tests.mean[number])
        hardest = int(differences[:, number].argmax())
        rows.append(
            RowVerdict(
                model=row.model,
                attack=row.attack,
                label=row.label,
                baseline=float(row.baseline.mean()),
                results=float(row.results.mean()),
                loss=loss,
                low=float(tests.low[number]),
                p=float(tests.p[number]),
                largest=float(differences[hardest, number]),
                case=comparison.cases[hardest],
                detectable=smallest_detectable(
                    float(tests.std[number]), tests.cases, tests.critical, tolerance=tolerance
                ),
                regression=loss > tolerance and bool(tests.above[number]),
            )
        )
    return Verdict(tuple(rows), tests.cases, tolerance, confidence, tests.method, comparison.notes)
