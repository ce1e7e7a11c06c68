# SPDX-License-Identifier: Apache-2.0
"""LaTeX, nnU-Net summaries and the flat table, checked by hand."""

import importlib.util
import json
import sys

import numpy as np
import pytest
from gate_cells import cell, table, write

from robust3d.benchmarks.results import read_results
from robust3d.cli.app import main
from robust3d.foundation.errors import InputError
from robust3d.report.exports import export_latex, export_parquet, export_summary
from robust3d.report.nnunet import nnunet_summary
from robust3d.report.parquet import flat_table


@pytest.fixture
def results(tmp_path):
    cells = table({"clean": [90, 70], "a&b": [50, 10], "c": [20, 60]}, model="m_1/coarse")
    return read_results(write(tmp_path / "run", cells))


def test_latex(results, tmp_path) -> None:
    (path,) = export_latex(results, tmp_path)
    text = path.read_text()
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert rows == [
        r"model & cases & clean & a\&b & c & worst & drop \\",
        r"m\_1/coarse & 2 & 80.00 ± 10.00 & 30.00 & 40.00 & 15.00 & 50.00 [40.00, 60.00] \\",
    ]
    assert [text.count(rule) for rule in ("\\toprule", "\\midrule", "\\bottomrule")] == [1, 1, 1]
    caption = next(line for line in text.splitlines() if "\\caption" in line)
    assert "linf epsilon 10.2 HU" in caption
    assert "paired bootstrap 95\\% interval" in caption


def test_summary_by_hand(tmp_path) -> None:
    made = cell("m", "a", "x", 50, 0)
    made["classes"] = {"1": {"tp": 2, "fp": 1, "fn": 1, "tn": 6}, "2": {"tp": 0, "fp": 0, "fn": 0, "tn": 10}}
    made["dsc"] = (4 / 6 + 1) / 2
    other = made | {"case": "y", "dsc": 0.5}
    other["classes"] = made["classes"] | {"1": {"tp": 0, "fp": 0, "fn": 3, "tn": 7}}
    cells = [*read_results(write(tmp_path, [made, other])).cells.values()]
    summary = nnunet_summary(cells)
    assert summary["metric_per_case"][0]["metrics"]["1"] == {
        "Dice": pytest.approx(2 / 3), "IoU": 0.5, "TP": 2, "FP": 1, "FN": 1, "TN": 6, "n_pred": 3, "n_ref": 3,
    }  # fmt: skip
    assert summary["mean"]["1"]["Dice"] == pytest.approx(1 / 3)
    assert summary["mean"]["2"]["Dice"] == summary["mean"]["2"]["IoU"] == 1
    assert summary["foreground_mean"]["Dice"] == pytest.approx(2 / 3)
    assert summary["foreground_mean"]["n_ref"] == pytest.approx(1.5)


def test_summaries_lie_within_the_folder(results, tmp_path) -> None:
    paths = export_summary(results, tmp_path)
    assert [path.parent.name for path in paths] == ["m_1-coarse__clean", "m_1-coarse__a-b", "m_1-coarse__c"]
    read = [json.loads(path.read_text())["foreground_mean"]["Dice"] for path in paths]
    np.testing.assert_allclose(read, [0.8, 0.3, 0.4])
    twice = table({"clean": [90]}, model="m/x") + table({"clean": [90]}, model="m-x")
    with pytest.raises(InputError, match="clean on m/x and clean on m-x would share the folder"):
        export_summary(read_results(write(tmp_path / "twice", twice)), tmp_path)


def test_flat_table() -> None:
    made = flat_table(table({"clean": [90, 70], "a": [50, 10]}))
    assert made.shape[0] == 4
    assert list(made.dsc) == [0.9, 0.7, 0.5, 0.1]
    assert json.loads(made.threat[0])["epsilon"] == 10.2


def test_parquet(results, tmp_path) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        with pytest.raises(InputError, match=r"pip install 'robust3d\[parquet\]'"):
            export_parquet(results, tmp_path)
        assert not list(tmp_path.glob("*.parquet"))
        return
    import pandas as pd

    (path,) = export_parquet(results, tmp_path)
    assert list(pd.read_parquet(path).dsc) == [0.9, 0.7, 0.5, 0.1, 0.2, 0.6]


@pytest.mark.parametrize(("format_", "name"), [("latex", "leaderboard.tex"), ("summary", "summary/m__a/summary.json")])
def test_command(tmp_path, monkeypatch, capsys, format_, name) -> None:
    run = write(tmp_path / "run", table({"clean": [90, 70], "a": [50, 10]}))
    monkeypatch.setattr(sys, "argv", ["robust3d", "export", str(run), "--format", format_])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert (run / name).is_file()
    assert f"wrote {run / name}" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["robust3d", "export", str(tmp_path), "--format", format_])
    with pytest.raises(SystemExit) as stop:
        main()
    err = capsys.readouterr().err
    assert (stop.value.code, err.count("\n")) == (2, 1)
    assert "results.jsonl does not exist" in err
