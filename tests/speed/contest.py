# SPDX-License-Identifier: Apache-2.0
"""A contest: contenders timed in turn, round after round, and the ratios of their times."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from timeit import Timer

Contender = Callable[[], object]

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""Seconds that passed, or seconds that this process computed: the latter is steadier on a busy machine."""


@dataclass(frozen=True)
class Figure:
    """One ratio that a contest gives.

    Parameters
    ----------
    name : str
        Identity in the results.
    slow, quick : str
        Contenders; the ratio is the time of ``slow`` over that of ``quick``.
    low_precision : bool
        Whether it rests on bfloat16 instructions, and so cannot be compared on a CPU without them.
    higher_is_better : bool
        Whether ``slow`` is another's way to compute something; else the ratio is a cost of ours.
    """

    name: str
    slow: str
    quick: str
    low_precision: bool = False
    higher_is_better: bool = True


def run_contest(
    contenders: Mapping[str, Contender], figures: Sequence[Figure], *, rounds: int, clock: str
) -> dict[str, object]:
    """Time all contenders once a round, after one round that does not count, and return medians.

    Parameters
    ----------
    contenders : mapping
        Name to a function of no arguments.
    figures : sequence of Figure
        Ratios to take; those that lack a contender are left out.
    rounds : int
        Rounds that count.
    clock : str
        Key of ``CLOCKS``.

    Returns
    -------
    dict
        ``seconds``: median of each contender; ``ratios``: per figure the median, least and largest of the rounds'
        ratios; ``load``: load average of the last minute, before and after.
    """
    load = [os.getloadavg()[0]]
    # Not torch.utils.benchmark, which runs everything twice more before each measurement.
    timers = {name: Timer(run, timer=CLOCKS[clock]) for name, run in contenders.items()}
    for run in contenders.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for number in range(rounds):
        # Every other round backwards, so that no contender always follows the same one.
        order = list(timers) if number % 2 == 0 else list(reversed(timers))
        for name in order:
            seconds[name].append(timers[name].timeit(1))
    load.append(os.getloadavg()[0])
    ratios = {}
    for figure in figures:
        if figure.slow in seconds and figure.quick in seconds:
            rows = [slow / quick for slow, quick in zip(seconds[figure.slow], seconds[figure.quick], strict=True)]
            ratios[figure.name] = summary(rows) | {
                "low_precision": figure.low_precision,
                "higher_is_better": figure.higher_is_better,
            }
    return {
        "seconds": {name: round(statistics.median(times), 5) for name, times in seconds.items()},
        "ratios": ratios,
        "rounds": rounds,
        "load": [round(value, 2) for value in load],
    }


def summary(values: Sequence[float]) -> dict[str, object]:
    """Return median, least and largest."""
    return {
        "median": round(statistics.median(values), 4),
        "least": round(min(values), 4),
        "largest": round(max(values), 4),
    }
