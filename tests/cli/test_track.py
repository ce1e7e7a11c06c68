# SPDX-License-Identifier: Apache-2.0
"""--track of run and train, and the doctor's flags in the tables of a run."""

import json
import subprocess
import sys

import pytest

from robust3d.benchmarks.diagnostics.flags import flags_text
from robust3d.benchmarks.diagnostics.report import read_report
from robust3d.cli.app import main
from robust3d.defenses.cases import TrainingCases
from robust3d.report.tracking import open as opening


class Memory:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.settings, self.logged, self.files, self.closed = {}, {}, [], False

    def parameters(self, values) -> None:
        self.settings |= values

    def metrics(self, values, step) -> None:
        for name, value in values.items():
            self.logged.setdefault(name, []).append((step, value))

    def artefact(self, path) -> None:
        self.files.append(path.name)

    def close(self, *, failed) -> None:
        self.closed = not failed


@pytest.fixture
def memory(monkeypatch) -> Memory:
    kept = Memory()
    monkeypatch.setattr(opening, "TRACKERS", {"mlflow": lambda out, name: kept})
    # Whether or not MLflow is installed.
    monkeypatch.setattr(opening, "find_spec", lambda module: object())
    return kept


def call(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def test_run_logs_its_cells_and_shows_the_flags(monkeypatch, memory, tiny_zoo, tmp_path, capsys) -> None:
    arguments = ["run", "tiny-bench", "--out", tmp_path, "--collection", tiny_zoo, "--track", "mlflow"]
    call(monkeypatch, *arguments)
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    fgsm = [100 * one["dsc"] for one in records if one["attack"] == "fgsm"]
    assert memory.logged["tiny/fgsm/dsc"] == list(enumerate(fgsm))
    assert memory.settings["threat/epsilon"] == 10.2
    assert memory.settings["attacks/ifgsm/steps"] == 5
    assert memory.logged["leaderboard/tiny/fgsm_dsc"][0][1] == pytest.approx(sum(fgsm) / 2, abs=0.0051)
    assert "results.jsonl" in memory.files
    assert memory.closed
    table = (tmp_path / "leaderboard.csv").read_bytes()
    assert "doctor" not in (tmp_path / "leaderboard.md").read_text()

    finding = {"check": "a check", "verdict": "flag", "meaning": "", "remedy": "r"}
    threat = records[0]["threat"]
    report = {"schema": 1, "model": "tiny", "model_sha256": records[0]["model_sha256"], "threat": threat, "attack": {}}
    report["cases"] = [{"case": "c", "findings": [finding]}]
    (tmp_path / "doctor-tiny.json").write_text(json.dumps(report))
    capsys.readouterr()
    call(monkeypatch, *arguments)
    assert "1 flag: a check |" in (tmp_path / "leaderboard.md").read_text()
    assert "doctor" in capsys.readouterr().out
    assert (tmp_path / "leaderboard.csv").read_bytes() == table


RECIPE = """
recipe = { name = "short", description = "a few steps" }
reference = { paper = "none" }
data = { source = "phantom", train_cases = 1, validation_cases = 1, shape = [40, 36, 32], spacing = [6.0, 6.0, 8.0] }
network = { name = "resdsn", width = 2 }
intensity = { low = -100.0, high = 240.0 }
deploy = { coarse_grid = "seed(1)" }

[coarse]
iterations = 4
batch = 1
window = 16
sampling = "anywhere"
learning_rate = 0.01
validate_every = 2
validation_windows = 2
"""


def test_train_logs_loss_rate_and_validation_by_step(monkeypatch, memory, tmp_path) -> None:
    (tmp_path / "short.toml").write_text(RECIPE)
    call(monkeypatch, "train", tmp_path / "short.toml", "--out", tmp_path / "out", "--track", "mlflow")
    assert [step for step, _ in memory.logged["coarse/loss"]] == [1, 2, 3, 4]
    # Polynomial with the power 0.9 of the recipe's default: 0.01 (1 - done / 4) ** 0.9.
    rates = [0.01 * (1 - done / 4) ** 0.9 for done in range(4)]
    assert [rate for _, rate in memory.logged["coarse/learning_rate"]] == pytest.approx(rates)
    assert [step for step, _ in memory.logged["coarse/validation_clean_dsc"]] == [2, 4]
    assert all(0 <= value <= 100 for _, value in memory.logged["coarse/validation_clean_dsc"])
    assert memory.settings["coarse/learning_rate"] == 0.01
    assert memory.closed


def test_a_tracker_that_is_missing_is_told_before_cases_are_read(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda module: pytest.fail(module) if module != "mlflow" else None)
    monkeypatch.setattr(TrainingCases, "load", lambda *_: pytest.fail("cases were read"))
    (tmp_path / "short.toml").write_text(RECIPE)
    arguments = ["train", tmp_path / "short.toml", "--out", tmp_path / "out", "--track", "mlflow"]
    monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "pip install 'robust3d[mlflow]'" in " ".join(capsys.readouterr().err.split())


def test_a_report_of_other_weights_says_nothing(tmp_path) -> None:
    verdicts = [("a", "ok"), ("b", "skipped"), ("a", "ok")]
    cases = [
        {
            "case": "c",
            "findings": [
                {"check": name, "verdict": verdict, "meaning": "", "remedy": ""} for name, verdict in verdicts
            ],
        }
    ]
    threat = {"epsilon": 1.0, "unit": "HU"}
    content = {"schema": 1, "model": "x", "model_sha256": "m", "threat": threat, "attack": {}, "cases": cases}
    (tmp_path / "d.json").write_text(json.dumps(content))
    report = read_report(tmp_path / "d.json")
    assert flags_text([report], {"n"}) == "not examined"
    assert flags_text([report], {"m"}) == "no flag in 1 check"
    assert flags_text([report], {"m", "n"}) == "no flag in 1 check (1 of 2 folds examined)"


def test_a_broken_report_is_told_before_anything_is_computed(tiny_zoo, tmp_path) -> None:
    (tmp_path / "doctor.json").write_text('{"schema": 9}')
    command = ["run", "tiny-bench", "--out", str(tmp_path), "--collection", str(tiny_zoo)]
    done = subprocess.run([sys.executable, "-m", "robust3d", *command], capture_output=True, text=True)
    assert done.returncode == 2
    assert "doctor.json is no report of the doctor: schema" in " ".join(done.stderr.split())
    assert not (tmp_path / "cells").exists()
