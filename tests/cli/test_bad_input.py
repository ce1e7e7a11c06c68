# SPDX-License-Identifier: Apache-2.0
"""Every mistake: exit code 2, one sentence on stderr, nothing on stdout."""

import resource
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from robust3d.cli.app import main


@pytest.fixture
def call(monkeypatch, capsys, tiny_zoo):
    def run(*arguments: object, collection: bool = True) -> tuple[int, str, str]:
        extra = ["--collection", str(tiny_zoo)] if collection else []
        monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, arguments), *extra])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def files(tmp_path):
    random = np.random.default_rng(0)
    image = random.integers(-200, 300, (18, 17, 16)).astype(np.int16)
    nib.Nifti1Image(image, np.eye(4)).to_filename(tmp_path / "ct.nii.gz")
    nib.Nifti1Image((image > 200).astype(np.uint8), np.eye(4)).to_filename(tmp_path / "seg.nii.gz")
    nib.Nifti1Image((image[1:] > 200).astype(np.uint8), np.eye(4)).to_filename(tmp_path / "short.nii.gz")
    (tmp_path / "file").touch()
    return tmp_path


ATTACK = ["attack", "--model", "tiny", "--image", "ct.nii.gz", "--label", "seg.nii.gz", "--attack", "fgsm"]
ATTACK += ["--epsilon", "10.2", "--out", "out"]
DOCTOR = ["doctor", "tiny", "--image", "ct.nii.gz", "--label", "seg.nii.gz"]


def changed(option: str, *values: str) -> list[str]:
    place = ATTACK.index(option)
    return [*ATTACK[:place], *([option, *values] if values else []), *ATTACK[place + 2 :]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "tiny-bensh", "--out", "out"], "unknown benchmark 'tiny-bensh'; did you mean 'tiny-bench'?"),
        (["run", "tiny-bench", "--out", "out", "--model", "tinny"], "did you mean 'tiny'?"),
        (["run", "tiny-bench", "--out", "out", "--model", "tiny/finest"], "no stage 'finest'"),
        (["run", "tiny-bench", "--out", "out", "--attack", "ifgms"], "did you mean 'ifgsm'?"),
        (["run", "tiny-bench", "--out", "out", "--epsilon", "-1"], "zero or a positive number of HU"),
        (["run", "tiny-bench", "--out", "out", "--epsilon", "few"], "few"),
        (["run", "tiny-bench", "--out", "file/out"], "cannot write to the output folder"),
        (["run", "tiny-bench", "--out", "out", "--data", "."], "generates its cases"),
        (["run", "tiny-bench", "--out", "out", "--attack", "fgsm", "--attack", "fgsm"], "named twice"),
        (["run", "tiny-bench", "--out", "out", "--devize", "cpu"], "--devize"),
        (["run", "tiny-bench", "--out", "out", "--device", "cuda:77"], "is not there"),
        (["run", "tiny-bench"], "--out"),
        (["train", "natral", "--out", "out"], "did you mean 'natural'?"),
        (["data", "phantom", "--out", "out", "--cases", "0"], "must be from 1"),
        (["data", "phantom", "--out", "out", "--cases", "1", "--shape", "4", "4", "4"], "at least 16"),
        (changed("--label"), "--label"),
        (changed("--label", "short.nii.gz"), "differs from shape"),
        (changed("--image", "missing.nii.gz"), "does not exist"),
        (changed("--attack", "fgms"), "did you mean 'fgsm'?"),
        (changed("--epsilon", "-3"), "zero or a positive number of HU"),
        ([*ATTACK, "--unit", "mm"], "needs a unit"),
        ([*changed("--attack", "ifgsm"), "--unit", "intensity"], "steps in HU"),
        ([*ATTACK, "--valid", "5", "1"], "is empty"),
        ([*ATTACK, "--norm", "l2"], "RMS HU"),
        ([*ATTACK, "--norm", "l2", "--unit", "RMS"], "needs a unit"),
        ([*changed("--attack", "square"), "--norm", "l2", "--unit", "RMS HU"], "is defined for norm linf"),
        (changed("--attack", "apgd-dlr"), "use 'margin'"),
        (["run", "tiny-bench", "--out", "out", "--attack", "fgsm@tinny"], "did you mean 'tiny'?"),
        (["run", "tiny-bench", "--out", "out", "--attack", "fgms@tiny"], "did you mean 'fgsm'?"),
        (["predict", "--model", "tiny", "--image", "file", "--out", "out"], "not a readable NIfTI file"),
        (["doctor", "tinny"], "did you mean 'tiny'?"),
        (["doctor", "tiny", "--image", "ct.nii.gz"], "give --image and --label together"),
        ([*DOCTOR, "--case-count", "2"], "leave it out with --image"),
        (["doctor", "tiny", "--case-count", "0"], "must be from 1"),
        ([*DOCTOR, "--epsilon", "0"], "epsilon 0 allows no perturbation"),
        ([*DOCTOR, "--attack", "square"], "is not of the algorithm gradient_ascent"),
        ([*DOCTOR, "--attack", "erase"], "is targeted"),
        ([*DOCTOR, "--unit", "mm"], "mm"),
    ],
)
def test_mistakes(call, files, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(files)
    code, out, err = call(*arguments, collection=arguments[0] != "data")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert out == ""


def test_a_changed_weight_file_is_refused(call, files, tiny_zoo, monkeypatch) -> None:
    monkeypatch.chdir(files)
    path = tiny_zoo / "zoo" / "tiny" / "fine.safetensors"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        code, out, err = call(*ATTACK)
    finally:
        path.write_bytes(whole)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "its card says" in err


def test_an_unknown_key_names_the_nearest(call, files, tiny_zoo) -> None:
    card = files / "mine.toml"
    text = (tiny_zoo / "benchmarks" / "tiny-bench.toml").read_text()
    card.write_text(text.replace("epsilon =", "epsilom ="))
    code, _, err = call("run", card, "--out", files / "out")
    assert code == 2
    assert "unknown key 'threat.epsilom'; did you mean 'epsilon'?" in err


def test_help_is_fast_and_does_not_import_torch() -> None:
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([sys.executable, "-m", "robust3d", "--help"], check=True, capture_output=True)
        times.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    assert sorted(times)[1] < 0.5
    script = "import sys, robust3d, robust3d.cli.app; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("listing", ["models", "attacks", "defenses", "benchmarks"])
def test_listings(call, listing) -> None:
    code, out, err = call(listing)
    assert (code, err) == (0, "")
    expected = {"models": "tiny", "attacks": "ifgsm", "defenses": "madry", "benchmarks": "tiny-bench"}[listing]
    assert expected in out


@pytest.mark.parametrize("listing", ["models", "attacks", "defenses", "benchmarks"])
def test_a_broken_card_does_not_end_a_listing(call, tmp_path, listing) -> None:
    kind = "zoo" if listing == "models" else listing
    for name in ("broken", "torn"):
        card = tmp_path / kind / (f"{name}/card.toml" if kind == "zoo" else f"{name}.toml")
        card.parent.mkdir(parents=True, exist_ok=True)
        card.write_text("= 1")
    code, out, err = call(listing, "--collection", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert all(f"{name}" in err for name in ("broken", "torn"))
    assert err.count("is not valid TOML") == 2
    expected = {"models": "tiny", "attacks": "ifgsm", "defenses": "madry", "benchmarks": "tiny-bench"}[listing]
    assert expected in out
    assert "torn" not in out
