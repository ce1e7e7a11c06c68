# SPDX-License-Identifier: Apache-2.0
"""Check and Finding: a question to a model, and the answer with the figures that it rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from robust3d.benchmarks.diagnostics.exam import Exam
from robust3d.foundation.errors import InputError

Verdict = Literal["ok", "flag", "skipped"]


@dataclass(frozen=True)
class Figure:
    """A measured number and its unit; shares and DSC in percent."""

    name: str
    value: float
    unit: str = ""

    def __str__(self) -> str:
        number = f"{self.value:.2f}" if self.unit in ("%", "points") else f"{self.value:.4g}"
        return f"{self.name} {number} {self.unit}".rstrip()


@dataclass(frozen=True)
class Judgement:
    """What a check measured, and whether that is beyond its threshold."""

    flag: bool
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Finding:
    """Answer of one check on one case.

    Parameters
    ----------
    name : str
        The property that was checked.
    verdict : str
        ``"ok"``, ``"flag"``, or ``"skipped"`` where it could not be measured.
    figures : tuple of Figure
        What was measured.
    meaning : str
        What the verdict says about a robustness figure of the model; the reason if skipped.
    remedy : str
        What to do about a flag; empty otherwise.
    """

    name: str
    verdict: Verdict
    figures: tuple[Figure, ...]
    meaning: str
    remedy: str


@dataclass(frozen=True)
class Check:
    """A property that a trustworthy robustness figure needs; calling it examines one case.

    Parameters
    ----------
    name : str
        The property.
    ok, flagged : str
        Meaning of each verdict.
    remedy : str
        What to do about a flag.
    measure : callable
        Pure function of an exam.
    """

    name: str
    ok: str
    flagged: str
    remedy: str
    measure: Callable[[Exam], Judgement]

    def __call__(self, exam: Exam) -> Finding:
        """Return the finding; what cannot be measured on this model or case is skipped with the reason."""
        try:
            judgement = self.measure(exam)
        except InputError as error:
            return Finding(self.name, "skipped", (), str(error), "")
        if judgement.flag:
            return Finding(self.name, "flag", judgement.figures, self.flagged, self.remedy)
        return Finding(self.name, "ok", judgement.figures, self.ok, "")


def check(name: str, *, ok: str, flagged: str, remedy: str) -> Callable[[Callable[[Exam], Judgement]], Check]:
    """Return a decorator that makes a :class:`Check` of a measuring function."""

    def make(measure: Callable[[Exam], Judgement]) -> Check:
        return Check(name, ok, flagged, remedy, measure)

    return make


def percent(name: str, share: float) -> Figure:
    """Return a share or DSC from 0 to 1 as a figure in percent."""
    return Figure(name, 100 * share, "%")
