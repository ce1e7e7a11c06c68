# SPDX-License-Identifier: Apache-2.0
"""robust3d doctor: what it announces, shows and saves; flags do not fail it."""

import json
import sys

import nibabel as nib
import numpy as np
import pytest

from robust3d.benchmarks.diagnostics.exam import Exam
from robust3d.benchmarks.diagnostics.finding import Figure, Finding
from robust3d.benchmarks.diagnostics.registry import CHECKS
from robust3d.cli.app import main
from robust3d.cli.doctor import _cases
from robust3d.foundation.collections import Collections
from robust3d.report.diagnosis import findings_json, tally
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume
from robust3d.zoo.load import load_model


@pytest.fixture
def doctor(monkeypatch, capsys, tmp_path, tiny_zoo):
    random = np.random.default_rng(0)
    image = random.integers(-200, 300, (18, 17, 16)).astype(np.int16)
    for name, array in (("ct", image), ("seg", (image > 0).astype(np.uint8))):
        nib.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / f"{name}.nii.gz")

    def run(*extra: object) -> tuple[str, str]:
        files = ["--image", tmp_path / "ct.nii.gz", "--label", tmp_path / "seg.nii.gz"]
        arguments = ["doctor", "tiny/coarse", *files, "--collection", tiny_zoo, "--attack", "ifgsm", *extra]
        monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code
        return capsys.readouterr()

    return run


def test_shows_and_saves_every_finding(doctor, tmp_path) -> None:
    out, err = doctor("--json", tmp_path / "d.json")
    assert "1 case, each at most 32 gradients and 37 predictions" in err
    saved = json.loads((tmp_path / "d.json").read_text())
    assert (saved["schema"], saved["model"], saved["attack"]["name"]) == (1, "tiny/coarse", "ifgsm")
    assert saved["threat"]["epsilon"] == 10.2
    (case,) = saved["cases"]
    assert [one["check"] for one in case["findings"]] == [check.name for check in CHECKS]
    assert all(bool(one["remedy"]) == (one["verdict"] == "flag") for one in case["findings"])
    assert all(one["meaning"] for one in case["findings"])
    verdicts = [one["verdict"] for one in case["findings"]]
    assert f"{verdicts.count('flag')} flag" in out
    assert "epsilon 0 is the" in out


def test_phantoms_are_test_cases() -> None:
    assert next(_cases(None, None, 2, 2)).name == "test_0000"


def test_tally_and_figures_in_words() -> None:
    flag, ok = (Finding("a", verdict, (), "", "") for verdict in ("flag", "ok"))
    assert tally([flag, ok, ok]) == "1 flag, 2 ok, 0 skipped"
    assert [str(Figure("share", 3.14159, "%")), str(Figure("rise", 0.000123456))] == ["share 3.14 %", "rise 0.0001235"]


def test_what_is_not_finite_is_null(exam) -> None:
    broken = Finding("a", "flag", (Figure("error", float("nan"), "%"),), "", "")
    content = findings_json("m", [(exam, [broken])])
    assert json.loads(json.dumps(content, allow_nan=False))["cases"][0]["findings"][0]["figures"][0]["value"] is None


@pytest.fixture
def exam(tiny_zoo) -> Exam:
    pipeline = load_model("tiny/coarse", collections=Collections.open([tiny_zoo]))
    random = np.random.default_rng(0).normal(0, 50, (16, 16, 16)).astype(np.float32)
    case = Volume(image=random, label=(random > 0).astype(np.uint8), affine=np.eye(4), spacing=(1, 1, 1), name="c")
    return Exam(pipeline, case, ThreatModel(epsilon=1, unit="HU"))
