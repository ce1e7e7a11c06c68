# SPDX-License-Identifier: Apache-2.0
"""Simultaneous tests of paired differences against scipy's, by hand, and by repeated trials."""

import numpy as np
import pytest
from scipy import stats

from robust3d.foundation.errors import InputError
from robust3d.metrics.simultaneous import losses_above_zero, smallest_detectable

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize("cases", [6, 9, 12])
def test_one_row_is_scipys_permutation_test(cases) -> None:
    row = RANDOM.normal(0.5, 1, cases)
    theirs = stats.permutation_test(
        (row,), lambda d, axis: np.mean(d, axis=axis), permutation_type="samples", n_resamples=np.inf,
        alternative="greater", vectorized=True,
    )  # fmt: skip
    ours = losses_above_zero(row[:, None])
    assert ours.method == "sign flips"
    assert ours.p[0] == pytest.approx(theirs.pvalue, abs=1e-12)


def test_many_cases_come_close_to_t() -> None:
    row = RANDOM.normal(0.4, 1, 40)
    ours = losses_above_zero(row[:, None])
    assert ours.p[0] == pytest.approx(stats.ttest_1samp(row, 0, alternative="greater").pvalue, abs=0.01)
    assert ours.critical == pytest.approx(stats.t.isf(0.05, 39), abs=0.06)


@pytest.mark.parametrize("cases", [2, 3, 5])
def test_few_cases_are_bonferroni_t(cases) -> None:
    table = RANDOM.normal(1, 1, (cases, 4))
    ours = losses_above_zero(table)
    assert ours.method == "Bonferroni t"
    theirs = stats.ttest_1samp(table, 0, alternative="greater")
    np.testing.assert_allclose(ours.p, np.minimum(1, 4 * theirs.pvalue), rtol=1e-6)
    np.testing.assert_allclose(ours.low, theirs.confidence_interval(1 - 0.05 / 4).low, rtol=1e-6)


def test_two_rows_by_hand() -> None:
    # Of the 64 sign patterns of six equal losses only the observed one makes the sum 6; 6 make it 4.
    # The second row has the same values with one sign turned, so its own best pattern reaches 6 as well.
    table = np.array([[1, 1], [1, 1], [1, 1], [1, 1], [1, 1], [1, -1]], dtype=float)
    ours = losses_above_zero(table)
    # Patterns in which the larger of the two sums is 6: one for each row.
    assert ours.p[0] == pytest.approx(2 / 64)
    # At least 4: 7 for each row, 2 of them common (the best of one row is the second best of the other).
    assert ours.p[1] == pytest.approx(12 / 64)
    assert list(ours.above) == [True, False]
    assert ours.low[0] == ours.mean[0] == 1


def test_what_rejects_has_its_interval_above_zero() -> None:
    for cases in (3, 6, 8, 20):
        for _ in range(20):
            ours = losses_above_zero(RANDOM.normal(0.8, 1, (cases, 5)))
            np.testing.assert_array_equal(ours.above, ours.low > 0)
            np.testing.assert_array_equal(ours.above, ours.p <= 0.05)


def test_nothing_changed_is_no_loss() -> None:
    ours = losses_above_zero(np.zeros((8, 3)))
    assert not ours.above.any()
    np.testing.assert_array_equal(ours.p, 1)
    np.testing.assert_array_equal(ours.low, 0)


def test_thousands_of_cases_are_judged() -> None:
    assert list(losses_above_zero(RANDOM.normal([0.5, -0.5], 1, (1500, 2))).above) == [True, False]


def test_a_verdict_repeats() -> None:
    table = RANDOM.normal(0.5, 1, (30, 4))
    np.testing.assert_array_equal(losses_above_zero(table).low, losses_above_zero(table).low)


def test_detectable_loss_is_found_in_eighty_of_a_hundred_trials() -> None:
    critical = stats.t.isf(0.01, 9)
    loss = smallest_detectable(3.0, 10, critical)
    t = stats.ttest_1samp(RANDOM.normal(loss, 3.0, (20_000, 10)), 0, axis=1).statistic
    assert np.mean(t > critical) == pytest.approx(0.8, abs=0.01)


def test_detectable_loss_is_never_below_the_tolerance() -> None:
    # With a spread of 0.1 the tolerance decides: 2 + 0.8416 * 0.1 / 4.
    assert smallest_detectable(0.1, 16, 1.753, tolerance=2.0) == pytest.approx(2.02104, abs=1e-4)
    assert np.isnan(smallest_detectable(0.0, 16, 1.753))


def test_rows_in_which_any_pattern_is_the_best_show_no_loss() -> None:
    # Every sign pattern of six cases makes some row all positive, so nothing can stand out.
    table = np.array([[1 if row >> case & 1 else -1 for row in range(64)] for case in range(6)], dtype=float)
    ours = losses_above_zero(table)
    assert not ours.above.any()
    assert np.all(ours.low == -np.inf)
    assert smallest_detectable(1.0, 6, ours.critical) == np.inf


@pytest.mark.parametrize(("shape", "confidence", "message"), [
    ((1, 3), 0.95, "at least 2 cases"), ((4, 0), 0.95, "1 row"), ((4, 1), 1.0, "between 0.5 and 1"),
    ((4, 1), float("nan"), "between 0.5 and 1"),
])  # fmt: skip
def test_what_cannot_be_judged_is_refused(shape, confidence, message) -> None:
    with pytest.raises(InputError, match=message):
        losses_above_zero(np.ones(shape), confidence=confidence)
