# SPDX-License-Identifier: Apache-2.0
"""robust3d check: exit codes, files, and what GitHub Actions reads."""

import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from gate_cells import table, write

from robust3d.cli.app import main

SCORES = np.linspace(50, 80, 8)
WOBBLE = np.resize([0.4, -0.4], 8)


@pytest.fixture
def check(monkeypatch, capsys, tmp_path):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    write(tmp_path / "baseline", table({"clean": SCORES, "a": SCORES - 20}))

    def run(*extra: object, loss: float = 0.0, results: object = None, **changes: object) -> tuple[int, str, str]:
        made = table({"clean": SCORES, "a": SCORES - 20 - loss + WOBBLE}, **changes)
        write(tmp_path / "results", made)
        arguments = ["check", "--baseline", tmp_path / "baseline", "--results", results or tmp_path / "results", *extra]
        monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def test_pass(check) -> None:
    code, out, err = check()
    assert (code, err) == (0, "")
    assert "pass: no regression in 2 rows of 8 paired cases" in out
    assert "::" not in out


def test_regression(check, tmp_path) -> None:
    code, out, err = check("--junit", tmp_path / "j.xml", "--markdown", tmp_path / "m.md", loss=5)
    assert (code, err) == (1, "")
    assert "regression: 1 of 2 rows" in out
    assert ElementTree.parse(tmp_path / "j.xml").find("testsuite").get("failures") == "1"
    assert "| m | a | 1 | 45.00 | 40.00 | 5.00 |" in (tmp_path / "m.md").read_text()
    assert check("--tolerance", 6, loss=5)[0] == 0


def test_what_cannot_be_compared_is_told_in_every_file(check, tmp_path) -> None:
    code, out, err = check("--junit", tmp_path / "j.xml", "--markdown", tmp_path / "m.md", seed=4, threat__epsilon=5.0)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert (
        "cannot compare: 2 reasons: threat model: epsilon is 10.2 in the baseline and 5.0 in the results; seed" in err
    )
    assert ElementTree.parse(tmp_path / "j.xml").find("testsuite").get("errors") == "2"
    assert "- seed is 0 in the baseline and 4 in the results" in (tmp_path / "m.md").read_text()


def test_github_reads_annotations_and_a_summary_appended(check, tmp_path, monkeypatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("earlier\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    code, out, _ = check(loss=5)
    assert code == 1
    (line,) = [one for one in out.splitlines() if one.startswith("::")]
    assert line.startswith(
        "::error title=robustness regression%3A m%2C a%2C class 1::DSC 45.00 -> 40.00 %25: lost 5.00"
    )
    assert summary.read_text().startswith("earlier\n# robust3d check\n")
    code, out, err = check(seed=4)
    assert (code, err.count("\n")) == (2, 1)
    assert out == "::error title=robust3d check cannot compare::seed is 0 in the baseline and 4 in the results\n"


@pytest.mark.parametrize(("extra", "message"), [
    (["--tolerance", "-1"], "tolerance -1.0 must be"),
    (["--confidence", "95"], "between 0.5 and 1"),
    (["--junit", "no/folder/j.xml"], "cannot write no/folder/j.xml"),
    (["--tolerence", "1"], "--tolerence"),
])  # fmt: skip
def test_mistakes_are_one_sentence(check, extra, message) -> None:
    code, _, err = check(*extra)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert "Traceback" not in err


def test_results_that_are_not_there(check, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = check(results="nowhere")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "results: nowhere does not exist; give a results.jsonl that robust3d run wrote" in err
