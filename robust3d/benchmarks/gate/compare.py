# SPDX-License-Identifier: Apache-2.0
"""Paired DSC of baseline and results: one row a model, attack and class, and the case-wise worst attack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robust3d.benchmarks.gate.comparability import NotComparableError, notes, problems
from robust3d.benchmarks.results import Results, read_results
from robust3d.foundation.errors import InputError

WORST = "worst"
"""Name of the row of the case-wise lowest DSC over all attacks within epsilon."""


@dataclass(frozen=True)
class PairedRow:
    """DSC of the same cases under baseline and results.

    Parameters
    ----------
    model, attack, label : str
        Model, attack (``"clean"`` without one, ``"worst"`` for the lowest over attacks within epsilon) and class.
    baseline, results : ndarray of float, shape (cases,)
        DSC, percent.
    """

    model: str
    attack: str
    label: str
    baseline: NDArray[np.float64]
    results: NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """All rows, over the same cases in the same order.

    Parameters
    ----------
    cases : tuple of str
        Names of the cases.
    rows : tuple of PairedRow
        In the order of the baseline.
    notes : tuple of str
        What differs though it may.
    """

    cases: tuple[str, ...]
    rows: tuple[PairedRow, ...]
    notes: tuple[str, ...]


def compare(baseline: Path, results: Path) -> Comparison:
    """Pair the cells of two runs.

    Parameters
    ----------
    baseline, results : Path
        A ``results.jsonl``, or the folder that holds it.

    Raises
    ------
    NotComparableError
        If a file cannot be read or the two differ in more than the model; tells every reason.
    """
    read: list[Results] = []
    unreadable: list[str] = []
    for name, path in (("baseline", baseline), ("results", results)):
        try:
            read.append(read_results(path))
        except InputError as error:
            unreadable.append(f"{name}: {error}")
    if unreadable:
        raise NotComparableError(unreadable)
    one, other = read
    found = problems(one, other)
    if found:
        raise NotComparableError(found)
    cases = tuple(dict.fromkeys(case for _, _, case in one.cells))
    return Comparison(cases, tuple(_rows(one, other, cases)), tuple(notes(one, other)))


def _rows(baseline: Results, results: Results, cases: tuple[str, ...]) -> Iterator[PairedRow]:
    for model in baseline.models:
        attacks = baseline.attacks(model)
        first = {attack: baseline.cells[model, attack, cases[0]] for attack in attacks}
        bounded = [attack for attack, cell in first.items() if cell.settings.attack is not None and cell.bounded]
        for label in first[attacks[0]].classes:
            tables = [
                {attack: _dsc(each, model, attack, label, cases) for attack in attacks} for each in (baseline, results)
            ]
            for attack in attacks:
                yield PairedRow(model, attack, label, *(table[attack] for table in tables))
            # With one attack the worst case is that attack.
            if len(bounded) > 1:
                worst = [np.min([table[attack] for attack in bounded], axis=0) for table in tables]
                yield PairedRow(model, WORST, label, *worst)


def _dsc(results: Results, model: str, attack: str, label: str, cases: tuple[str, ...]) -> NDArray[np.float64]:
    return np.array([results.cells[model, attack, case].classes[label].dsc for case in cases])
