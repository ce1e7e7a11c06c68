# SPDX-License-Identifier: Apache-2.0
"""The gate: rows and verdicts by hand and against scipy, and every reason not to compare."""

from pathlib import Path

import numpy as np
import pytest
from gate_cells import cell, table, write
from scipy import stats

from robust3d.benchmarks.gate.comparability import NotComparableError
from robust3d.benchmarks.gate.compare import compare
from robust3d.benchmarks.gate.verdict import judge
from robust3d.foundation.errors import InputError

BASELINES = Path(__file__).parents[2] / "benchmarks" / "baselines"


def compared(tmp_path, baseline, results):
    return compare(write(tmp_path / "baseline", baseline), write(tmp_path / "results", results))


def refused(tmp_path, baseline, results) -> tuple[str, ...]:
    with pytest.raises(NotComparableError) as refusal:
        compared(tmp_path, baseline, results)
    assert "\n" not in str(refusal.value)
    return refusal.value.problems


CASES = 10
SCORES = {"clean": np.linspace(80, 90, CASES), "a": np.linspace(40, 60, CASES), "b": np.linspace(60, 30, CASES)}


def base(**changes):
    return table(SCORES, **changes)


def test_rows_by_hand(tmp_path) -> None:
    before = [
        *table({"clean": [90, 80], "a": [50, 40], "b": [45, 60]}),
        *table({"far": [1, 2]}, bounded=False),
    ]
    after = [
        *table({"clean": [91, 79], "a": [40, 40], "b": [46, 30]}),
        *table({"far": [0, 0]}, bounded=False),
    ]
    # Another order of lines is the same results.
    rows = {row.attack: row for row in compared(tmp_path, before, after[::-1]).rows}
    assert list(rows) == ["clean", "a", "b", "far", "worst"]
    np.testing.assert_allclose(rows["clean"].baseline - rows["clean"].results, [-1, 1])
    np.testing.assert_allclose(rows["worst"].baseline, [45, 40])
    np.testing.assert_allclose(rows["worst"].results, [40, 30])


def test_classes_are_rows_of_their_own(tmp_path) -> None:
    before = [cell("m", attack, case, 80, 50) for attack in ("clean", "a") for case in "xy"]
    after = [cell("m", attack, case, 80, 20) for attack in ("clean", "a") for case in "xy"]
    rows = compared(tmp_path, before, after).rows
    assert [(row.attack, row.label) for row in rows] == [("clean", "1"), ("a", "1"), ("clean", "2"), ("a", "2")]
    assert [float(row.results.mean()) for row in rows] == [80, 80, 20, 20]


def test_a_verdict_is_scipys_t_test_for_one_row_of_five_cases(tmp_path) -> None:
    before, after = [80, 82, 84, 86, 90], [75, 79, 78, 84, 81]
    verdict = judge(compared(tmp_path, table({"clean": before}), table({"clean": after})))
    theirs = stats.ttest_rel(before, after, alternative="greater")
    (row,) = verdict.rows
    assert (row.loss, row.p) == (pytest.approx(5), pytest.approx(theirs.pvalue, rel=1e-6))
    assert row.low == pytest.approx(theirs.confidence_interval(0.95).low, rel=1e-6)
    assert (row.largest, row.case) == (pytest.approx(9), "case_4")
    assert row.regression
    assert not verdict.passed


def test_a_loss_must_be_larger_than_the_tolerance_and_more_than_noise(tmp_path) -> None:
    wobble = np.where(np.arange(CASES) % 2, 0.2, -0.2)
    small = {name: values - 0.8 + wobble for name, values in SCORES.items()}
    comparison = compared(tmp_path, base(), table(small))
    assert all(row.low > 0 for row in judge(comparison).rows)  # significant, yet tolerated
    assert judge(comparison).passed
    assert not judge(comparison, tolerance=0.5).passed
    # One case lost 25 points: more than the tolerance in the mean, yet one case is no proof.
    single = {name: values - 25 * (np.arange(CASES) == 3) for name, values in SCORES.items()}
    verdict = judge(compared(tmp_path, base(), table(single)))
    assert all(row.loss == pytest.approx(2.5) for row in verdict.rows[:3])
    assert verdict.passed
    assert verdict.rows[0].case == "case_3"


def test_a_gain_passes_and_a_loss_in_one_attack_is_found(tmp_path) -> None:
    wobble = np.where(np.arange(CASES) % 3, 0.5, -1)
    after = {name: values + 5 for name, values in SCORES.items()} | {"b": SCORES["b"] - 4 + wobble}
    verdict = judge(compared(tmp_path, base(), table(after)))
    assert [row.attack for row in verdict.regressions] == ["b"]
    assert "1 of 4 rows of 10 paired cases" in verdict.headline


def test_power_is_told_and_warned_of(tmp_path) -> None:
    random = np.random.default_rng(0)
    noisy = {name: (values + random.normal(0, 12, CASES)).clip(0, 100) for name, values in SCORES.items()}
    verdict = judge(compared(tmp_path, base(), table(noisy)))
    assert verdict.warning is not None
    assert all(row.detectable > 5 for row in verdict.rows)
    assert "add cases" in verdict.warning
    same = judge(compared(tmp_path, base(), base(model_sha256="other")))
    assert same.passed
    assert same.warning is None
    assert "not known" in same.power


def test_a_new_model_is_allowed_and_a_new_pipeline_noted(tmp_path) -> None:
    other = base(model_sha256="n", settings__pipeline__coarse__window=[64, 64, 64], environment__device="cuda")
    assert compared(tmp_path, base(), other).notes == (
        "pipeline of m: coarse.window is [32, 32, 32] in the baseline and [64, 64, 64] in the results",
        "environment: device is cpu in the baseline and cuda in the results",
    )
    assert compared(tmp_path, base(), base()).notes == ("m has the weights and the pipeline of the baseline",)


@pytest.mark.parametrize(("changes", "message"), [
    ({"threat__epsilon": 5.1}, "threat model: epsilon is 10.2 in the baseline and 5.1 in the results"),
    ({"threat__storage": "int16"}, "threat model: storage is float32 in the baseline and int16 in the results"),
    ({"seed": 1}, "seed is 0 in the baseline and 1 in the results"),
    ({"schema": 1}, "results: line 1 of"),
    ({"bounded": False}, "clean, a, b on m: bounded is true in the baseline and false in the results"),
])  # fmt: skip
def test_what_must_be_the_same(tmp_path, changes, message) -> None:
    problems = refused(tmp_path, base(), base(**changes))
    if "bounded" in changes:
        assert "a on m: bounded is true in the baseline and false in the results" in problems
    else:
        assert len(problems) == 1
        assert message in problems[0]


def test_weaker_attacks_are_named_with_both_values(tmp_path) -> None:
    weak = [one if one["attack"] != "a" else one | {"settings": one["settings"] | {
        "attack": {"name": "a", "steps": 1, "loss": "dice", "step_size": 3.4}}} for one in base()]  # fmt: skip
    assert refused(tmp_path, base(), weak) == (
        "a on m: settings.attack.steps is 5 in the baseline and 1 in the results",
        "a on m: settings.attack.loss is absent in the baseline and dice in the results",
    )


def test_gradients_of_lower_precision_are_another_attack(tmp_path) -> None:
    fast = base(settings__pipeline__coarse__gradients="bfloat16")
    assert refused(tmp_path, base(), fast) == (
        "a on m: gradients is float32 in the baseline and bfloat16 in the results",
        "b on m: gradients is float32 in the baseline and bfloat16 in the results",
    )
    assert compared(tmp_path, base(), base(settings__pipeline={"window": [32]})).notes


def test_missing_and_extra_cells_are_all_listed(tmp_path) -> None:
    other = [one for one in base() if one["attack"] != "b" and not (one["attack"] == "a" and one["case"] > "case_2")]
    other += table({"clean": [50]}, model="new") + table({"c": [1] * CASES})
    assert refused(tmp_path, base(), other) == (
        "the results lack cases case_3, case_4, case_5, case_6, case_7 and 2 more of a on m, which the baseline has",
        "the results lack b on m, which the baseline has",
        "the results have c on m, which the baseline lacks",
        "the results have model new, which the baseline lacks",
    )


def test_other_data_is_refused_with_everything_else_that_differs(tmp_path) -> None:
    other = [one | {"volume_sha256": "0" * 64} if one["case"] == "case_1" else one | {"seed": 3} for one in base()]
    problems = refused(tmp_path, base(), [one | {"seed": 3} for one in other])
    assert problems == (
        "seed is 0 in the baseline and 3 in the results",
        "case case_1: other data (volume_sha256 is volume of ca in the baseline and 000000000000 in the results for "
        "case_1)",
    )


def test_an_incomplete_baseline_is_refused(tmp_path) -> None:
    holed = [one for one in base() if (one["attack"], one["case"]) != ("a", "case_2")]
    assert refused(tmp_path, holed, holed) == (
        "the baseline itself is not complete: it lacks case case_2 of a on m",
    )  # fmt: skip


def test_a_file_is_not_compared_with_itself(tmp_path) -> None:
    folder = write(tmp_path, base())
    with pytest.raises(NotComparableError, match="the same file"):
        compare(folder, folder / "results.jsonl")


@pytest.mark.parametrize(("text", "message"), [
    ("", "holds no cell"),
    ("\n\n", "holds no cell"),
    ("model,cases\nm,20\n", "line 1 of .* is not JSON"),
    ('{"schema": 2, "model": "m"}\n', "line 1 of .* is not a cell: benchmark: Field required"),
    ('[1, 2]\n', "line 1 of .* is not a cell: it has no schema"),
    ('{"metric_per_case": []}\n', "line 1 of .* is not a cell: it has no schema"),
    ('{"schema": 1}\n', "line 1 of .* has schema 1 and this robust3d compares schema 2"),
    ('{"schema": "2"}\n', "line 1 of .* has schema '2'"),
    ("[" * 100_000, "line 1 of .* is not JSON"),
    ("\xff", "cannot read"),
])  # fmt: skip
def test_a_file_that_is_none_of_results(tmp_path, text, message) -> None:
    good = write(tmp_path / "good", base())
    (tmp_path / "bad.jsonl").write_text(text, encoding="latin-1")
    with pytest.raises(NotComparableError, match=f"baseline: .*{message}"):
        compare(tmp_path / "bad.jsonl", good)
    with pytest.raises(NotComparableError, match=f"results: .*{message}"):
        compare(good, tmp_path / "bad.jsonl")


def test_both_files_are_told_of(tmp_path) -> None:
    with pytest.raises(NotComparableError, match=r"2 reasons: baseline: .*no does not exist.*; results: .*neither"):
        compare(tmp_path / "no", tmp_path / "neither")


@pytest.mark.parametrize(("line", "changes", "message"), [
    (4, {"threat__epsilon": 1.0}, "line 5 has another threat model than line 1"),
    (4, {"seed": 1}, "line 5 has another seed than line 1"),
    (4, {"benchmark": "other"}, "line 5 has another benchmark than line 1"),
    (12, {"volume_sha256": "x"}, "case case_2 is another volume in line 13 than in line 3"),
    (0, {"dsc": 0.99}, "line 1 of .* has a DSC of 0.990000 and counts that make 0.800000"),
    (0, {"dsc": float("nan")}, "line 1 of .* is not a cell: dsc"),
    (0, {"classes": {}}, "line 1 of .* is not a cell: classes"),
    (0, {"classes": {"1": {"tp": -1, "fp": 0, "fn": 0, "tn": 0}}}, "classes.1.tp"),
    (4, {"classes": {"2": {"tp": 1, "fp": 0, "fn": 0, "tn": 0}}, "dsc": 1.0}, "m in line 5 has other classes than"),
    (0, {"seed": "0"}, "line 1 of .* is not a cell: seed"),
])  # fmt: skip
def test_a_cell_that_is_wrong_is_named_by_its_line(tmp_path, line, changes, message) -> None:
    cells = base()
    old = cells[line]
    cells[line] = cell(old["model"], old["attack"], old["case"], 100 * old["dsc"], **changes)
    with pytest.raises(NotComparableError, match=f"results: .*{message}"):
        compared(tmp_path, base(), cells)


def test_a_cell_that_is_there_twice_is_named(tmp_path) -> None:
    cells = base()
    cells[2]["case"] = "case_0"
    with pytest.raises(NotComparableError, match=r"line 3 of .* repeats the cell of line 1 \(m, clean, case_0\)"):
        compared(tmp_path, base(), cells)


@pytest.mark.parametrize(("cases", "settings", "message"), [
    (1, {}, "found 1 paired cases"),
    (4, {"tolerance": -1}, "tolerance -1"),
    (4, {"tolerance": float("inf")}, "tolerance inf"),
    (4, {"confidence": 95}, "between 0.5 and 1"),
])  # fmt: skip
def test_what_cannot_be_judged(tmp_path, cases, settings, message) -> None:
    same = table({"clean": [80] * cases})
    with pytest.raises(InputError, match=message):
        judge(compared(tmp_path, same, same), **settings)


@pytest.mark.parametrize("name", ["phantom-pancreas", "table8"])
def test_committed_baselines_can_be_compared(name, tmp_path) -> None:
    folder = BASELINES / name
    (tmp_path / "results.jsonl").write_bytes((folder / "results.jsonl").read_bytes())
    verdict = judge(compare(folder, tmp_path))
    assert verdict.passed
    assert all(row.loss == 0 for row in verdict.rows)
