# SPDX-License-Identifier: Apache-2.0
"""--track of run and train, and the doctor's flags in the tables of a run."""

import json
import subprocess
import sys

import pytest

from robust3d.benchmarks.diagnostics.report import flags_text, read_report
from robust3d.cli.app import main
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

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def memory(monkeypatch) -> Memory:
    kept = Memory()
    monkeypatch.setattr(opening, "TRACKERS", {"mlflow": lambda out, name: kept})
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

    finding = {"check": "a check", "verdict": "flag"}
    threat = records[0]["threat"]
    report = {"schema": 1, "model_sha256": records[0]["model_sha256"], "threat": threat, "attack": {}}
    report["cases"] = [{"case": "c", "findings": [finding]}]
    (tmp_path / "doctor-tiny.json").write_text(json.dumps(report))
    capsys.readouterr()
    call(monkeypatch, *arguments)
    assert "1 flag: a check |" in (tmp_path / "leaderboard.md").read_text()
    assert "doctor" in capsys.readouterr().out
    assert (tmp_path / "leaderboard.csv").read_bytes() == table


def test_a_report_of_other_weights_says_nothing(tmp_path) -> None:
    verdicts = [("a", "ok"), ("b", "skipped"), ("a", "ok")]
    cases = [{"case": "c", "findings": [{"check": name, "verdict": verdict} for name, verdict in verdicts]}]
    content = {"schema": 1, "model_sha256": "m", "threat": {"epsilon": 1.0, "unit": "HU"}, "attack": {}, "cases": cases}
    (tmp_path / "d.json").write_text(json.dumps(content))
    report = read_report(tmp_path / "d.json")
    assert flags_text([report], "n") == "not examined"
    assert flags_text([report], "m") == "no flag in 1 checks"


def test_a_broken_report_is_told_before_anything_is_computed(tiny_zoo, tmp_path) -> None:
    (tmp_path / "doctor.json").write_text('{"schema": 9}')
    command = ["run", "tiny-bench", "--out", str(tmp_path), "--collection", str(tiny_zoo)]
    done = subprocess.run([sys.executable, "-m", "robust3d", *command], capture_output=True, text=True)
    assert done.returncode == 2
    assert "doctor.json is no report of the doctor: schema" in " ".join(done.stderr.split())
    assert not list((tmp_path / "cells").iterdir())
