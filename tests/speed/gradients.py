# SPDX-License-Identifier: Apache-2.0
"""Whole-volume gradients against autograd through MONAI, checkpointing, a loop over windows and torchattacks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from .contest import Contender, Figure, run_contest
from .machine import free_gigabytes
from .problem import Problem

REFERENCES = ("monai", "monai-image-only", "checkpointing", "torchattacks")


def figures() -> list[Figure]:
    """Return every ratio, the reference's time over ours; the loop over windows computes the window mean."""
    pairs = [(reference, f"{p}-fused") for reference in REFERENCES for p in ("exact", "fast")]
    pairs += [(reference, f"{p}-window-mean") for reference in ("monai", "loop") for p in ("exact", "fast")]
    return [Figure(f"{slow} / {quick}", slow, quick, quick.startswith("fast")) for slow, quick in pairs]


def contenders(problem: Problem, *, every: bool) -> Mapping[str, Contender]:
    """Return those that fit into memory; with ``every``, the slow references too."""
    exact, fast = problem.segmenter("exact"), problem.segmenter("fast")
    chosen: dict[str, Contender] = {}
    if problem.graph_gigabytes < 0.8 * free_gigabytes():
        chosen["monai"] = problem.autograd
        if every:
            chosen["monai-image-only"] = partial(problem.autograd, parameters=False)
            chosen["torchattacks"] = problem.torchattacks_fgsm
    if every:
        chosen["checkpointing"] = partial(problem.autograd, recompute=True)
        chosen["loop"] = problem.window_loop
    chosen["exact-fused"] = partial(problem.ours, exact, "fused")
    chosen["exact-window-mean"] = partial(problem.ours, exact, "window_mean")
    chosen["fast-fused"] = partial(problem.ours, fast, "fused")
    chosen["fast-window-mean"] = partial(problem.ours, fast, "window_mean")
    return chosen


def agreement(problem: Problem, gradients: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the distance of our gradients from the references', as a fraction of the references' L2 norm.

    Parameters
    ----------
    problem : Problem
        Where the reference of ``fused`` comes from if its graph did not fit into memory.
    gradients : mapping
        What the contenders returned, by name; without the loop over windows, ``window-mean`` is not compared.
    """
    references = {"window-mean": gradients["loop"]} if "loop" in gradients else {}
    if "monai" in gradients:
        references["fused"] = gradients["monai"]
    else:
        references["fused"] = problem.autograd(recompute=True, parameters=False)
    names = [(precision, mode) for precision in ("exact", "fast") for mode in ("fused", "window-mean")]
    return {
        f"{precision}-{mode}": _distance(gradients[f"{precision}-{mode}"], references[mode])
        for precision, mode in names
        if mode in references
    }


def measure(width: int, window: int, *, every: bool, rounds: int, clock: str) -> dict[str, object]:
    """Time 18 windows of one width and size."""
    problem = Problem(width, window, (2 * window, 2 * window, 3 * window // 2))
    gradients: dict[str, Tensor] = {}

    def remembered(name: str, run: Contender) -> Contender:
        def call() -> None:
            gradients[name] = run()

        return call

    runs = {name: remembered(name, run) for name, run in contenders(problem, every=every).items()}
    result = run_contest(runs, figures(), rounds=rounds, clock=clock)
    return result | {"windows": problem.windows, "relative_error": agreement(problem, gradients)}


def _distance(gradient: Tensor, reference: Tensor) -> float:
    return float(f"{float((gradient - reference).norm() / reference.norm()):.3g}")
