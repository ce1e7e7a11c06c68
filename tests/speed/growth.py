# SPDX-License-Identifier: Apache-2.0
"""Time of one gradient as the volume and its windows grow, against autograd through MONAI."""

from __future__ import annotations

from functools import partial

from .contest import Contender, Figure, run_contest
from .machine import free_gigabytes
from .problem import Problem

SHAPES = ((48, 48, 48), (64, 64, 48), (96, 96, 64), (128, 128, 128))
"""8, 18, 75 and 343 windows of 32^3 that overlap by half."""


def measure(*, rounds: int, clock: str) -> dict[str, object]:
    """Return seconds by number of windows, and ratios to the smallest volume and to MONAI."""
    runs: dict[str, Contender] = {}
    figures = []
    problems = [Problem(8, 32, shape) for shape in SHAPES]
    for problem in problems:
        number = problem.windows
        runs[f"exact, {number}"] = partial(problem.ours, problem.segmenter("exact"), "fused")
        if problem.graph_gigabytes < 0.8 * free_gigabytes():
            runs[f"monai, {number}"] = problem.autograd
        figures.append(Figure(f"monai / exact-fused, {number} windows", f"monai, {number}", f"exact, {number}"))
    first, last = problems[0].windows, problems[-1].windows
    figures.append(
        Figure(f"exact-fused, {last} / {first} windows", f"exact, {last}", f"exact, {first}", higher_is_better=False)
    )
    result = run_contest(runs, figures, rounds=rounds, clock=clock)
    return result | {"voxels": {str(problem.windows): problem.image.numel() for problem in problems}}
