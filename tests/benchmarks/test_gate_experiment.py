# SPDX-License-Identifier: Apache-2.0
"""The gate by experiment: false alarms on changes that are noise, and a model that lost 5 DSC.

A simulated table holds two models under seven attacks. Both runs of a case share its DSC and differ by noise of their
own, part of it common to all attacks of a case. ``spread`` is the standard deviation of the paired differences, points.
"""

import numpy as np
import pytest
from scipy import stats

from robust3d.benchmarks.gate.compare import Comparison, PairedRow
from robust3d.benchmarks.gate.verdict import judge

MEANS = {"clean": 83, "random-sign": 81, "fgsm": 63, "ifgsm": 43, "fgsm-exact": 53, "ifgsm-exact": 25, "worst": 20}
COMMON = 0.5
"""Share of the noise's variance that all attacks of a case and model share."""


def draw(random, kind: str, shape: tuple[int, ...]):
    """Noise of variance one: normal, of heavy tails, or skewed (rare collapses)."""
    if kind == "normal":
        return random.normal(size=shape)
    if kind == "heavy":
        return random.standard_t(3, size=shape) / np.sqrt(3)
    # One case in ten collapses: as a difference of two runs symmetric, far from normal.
    return (0.1 - (random.random(shape) < 0.1)) / 0.3


def run_of(random, kind: str, truth, spread: float):
    """One run: cases x models x attacks, percent."""
    common, own = draw(random, kind, (*truth.shape[:2], 1)), draw(random, kind, truth.shape)
    noise = np.sqrt(COMMON) * common + np.sqrt(1 - COMMON) * own
    return np.clip(truth + spread / np.sqrt(2) * noise, 0, 100)


def verdict_of(random, kind: str, cases: int, spread: float, *, lost: float = 0.0, tolerance: float = 1.0):
    """Judge two runs of the same models, of which the first lost some DSC under every attack in the second run."""
    truth = np.array([*MEANS.values()]) + random.normal(0, 8, (cases, 2, 1)) + random.normal(0, 5, (cases, 2, 7))
    before = run_of(random, kind, truth, spread)
    truth[:, 0] -= lost
    after = run_of(random, kind, truth, spread)
    rows = tuple(
        PairedRow(f"m{model}", attack, "1", before[:, model, number], after[:, model, number])
        for model in (0, 1)
        for number, attack in enumerate(MEANS)
    )
    return judge(Comparison(tuple(map(str, range(cases))), rows, ()), tolerance=tolerance)


def below(alarms: int, trials: int, rate: float = 0.05) -> bool:
    """Return whether so many alarms agree with a true rate of at most ``rate`` (exact binomial test, 1 in 1000)."""
    return stats.binomtest(alarms, trials, rate, alternative="greater").pvalue > 0.001


def false_alarms(kind: str, cases: int, trials: int) -> int:
    """Count the trials without a loss that fail; no tolerance, so that significance alone must hold the rate."""
    random = np.random.default_rng([cases, len(kind)])
    return sum(not verdict_of(random, kind, cases, 6.0, tolerance=0.0).passed for _ in range(trials))


def caught(kind: str, spread: float, trials: int) -> int:
    """Count the trials with 20 cases in which a model that lost 5 points is found."""
    random = np.random.default_rng([int(10 * spread), len(kind)])
    verdicts = [verdict_of(random, kind, 20, spread, lost=5.0) for _ in range(trials)]
    return sum(any(row.model == "m0" for row in verdict.regressions) for verdict in verdicts)


@pytest.mark.parametrize("kind", ["normal", "heavy", "collapse"])
@pytest.mark.parametrize("cases", [4, 20])
def test_noise_alone_is_seldom_a_regression(kind, cases) -> None:
    assert below(false_alarms(kind, cases, 200), 200)


@pytest.mark.parametrize("kind", ["normal", "heavy", "collapse"])
def test_a_model_that_lost_five_points_is_caught(kind) -> None:
    assert caught(kind, 6.0, 60) >= 57


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "heavy", "collapse"])
@pytest.mark.parametrize("cases", [3, 4, 6, 8, 12, 20])
def test_false_alarms_of_the_whole_gate(kind, cases, record_testsuite_property) -> None:
    trials = 2000
    alarms = false_alarms(kind, cases, trials)
    record_testsuite_property(f"false alarms, {kind}, {cases} cases", alarms / trials)
    assert below(alarms, trials)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "heavy", "collapse"])
@pytest.mark.parametrize("spread", [4.0, 6.0])
def test_a_loss_of_five_points_is_caught_in_95_of_100_trials(kind, spread, record_testsuite_property) -> None:
    trials = 1000
    rate = caught(kind, spread, trials) / trials
    record_testsuite_property(f"caught, {kind}, spread {spread}", rate)
    assert rate >= 0.95
