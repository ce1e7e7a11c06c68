# SPDX-License-Identifier: Apache-2.0
"""``robust3d report`` from the command line, on a run of a tiny model."""

import json
import sys

import pytest

from robust3d.cli.app import main


@pytest.fixture
def call(monkeypatch, tiny_zoo):
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, arguments), "--collection", str(tiny_zoo)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return run


def test_a_run_becomes_a_report(call, tmp_path, capsys) -> None:
    for name, epsilon in (("run", 10.2), ("low", 3.4)):
        assert call("run", "tiny-bench", "--out", tmp_path / name, "--attack", "fgsm", "--epsilon", epsilon) == 0
    results = tmp_path / "run" / "results.jsonl"
    cells = [json.loads(line) for line in results.read_text().splitlines()]
    finding = {"check": "steps", "verdict": "flag", "figures": [], "meaning": "Too few.", "remedy": "Add steps."}
    diagnosis = {"schema": 1, "model": "tiny", "model_sha256": cells[0]["model_sha256"],
                 "threat": cells[0]["threat"], "attack": {"name": "fgsm"},
                 "cases": [{"case": "x", "findings": [finding]}]}  # fmt: skip
    (tmp_path / "doctor.json").write_text(json.dumps(diagnosis))
    beside = [{"case": "y", "findings": [finding | {"check": "beside", "meaning": "Lies beside."}]}]
    (tmp_path / "run" / "doctor-tiny.json").write_text(json.dumps(diagnosis | {"cases": beside}))
    (tmp_path / "other.json").write_text(json.dumps(diagnosis | {"model_sha256": "f" * 64}))
    # One voxel more than the model finds, as another processor might round.
    counts = cells[1]["classes"]["1"]
    counts |= {"tp": counts["tp"] + 1, "fn": counts["fn"] - 1}
    cells[1]["dsc"] = 2 * counts["tp"] / (2 * counts["tp"] + counts["fp"] + counts["fn"])
    results.write_text("".join(json.dumps(one) + "\n" for one in cells))
    capsys.readouterr()
    extra = ("--cases", 2, "--also", tmp_path / "low", "--doctor", tmp_path / "doctor.json")
    assert call("report", tmp_path / "run", *extra) == 0
    report = tmp_path / "run" / "report"
    printed = capsys.readouterr()
    assert f"wrote {report / 'index.html'}" in printed.out
    warning = f"fgsm on tiny, {cells[1]['case']}: DSC 0.0000 percent now and {100 * cells[1]['dsc']:.4f} in the results"
    assert printed.err.count("warning: ") == 1
    assert warning in printed.err
    assert (report / "figures" / "epsilon.svg").is_file()
    index = (report / "index.html").read_text()
    assert "Too few. Add steps." in index
    assert "Lies beside. Add steps." in index
    pages = {(report / f"case-{number}.html").read_text() for number in (0, 1)}
    assert call("report", tmp_path / "run", "--doctor", tmp_path / "other.json") == 2
    assert f"examined tiny with weights {'f' * 64}, which" in capsys.readouterr().err
    assert {"Every DSC came out exactly" in page for page in pages} == {True, False}


def test_wrong_options(call, tmp_path, capsys) -> None:
    assert call("report", tmp_path, "--cases", 1) == 2
    assert "results.jsonl does not exist" in capsys.readouterr().err
    assert call("report", tmp_path, "--cases", -1) == 2
    assert "--cases must be 0 or more, not -1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
