# SPDX-License-Identifier: Apache-2.0
"""attack, predict, data and train from the command line, checked on what they wrote."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import robust3d as r3
from robust3d.cli.app import main
from robust3d.data.phantoms import PhantomDataset
from robust3d.defenses.stage import StageTrainer
from robust3d.foundation.collections import Collections
from robust3d.networks.resdsn import ResDSN


@pytest.fixture
def call(monkeypatch):
    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code

    return run


def test_models_lists_by_pattern_and_shows_a_card(call, tiny_zoo, capsys, monkeypatch) -> None:
    call("models", "ti*", "--collection", tiny_zoo)
    listed = capsys.readouterr().out
    # What the card's network has before BatchNorm is folded into its convolutions.
    main_path = ResDSN(width=2, deep_supervision=False)
    assert f"2 x {sum(p.numel() for p in main_path.parameters()):,} " in listed
    assert "not run" in listed
    assert "resdsn-c2f" not in listed
    call("models", "tiny", "--collection", tiny_zoo)
    shown = capsys.readouterr().out
    assert tomllib.loads(shown) == tomllib.loads((tiny_zoo / "zoo" / "tiny" / "card.toml").read_text())
    main_with = ["robust3d", "models", "nothing*", "--collection", str(tiny_zoo)]
    monkeypatch.setattr(sys, "argv", main_with)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2


@pytest.fixture
def phantom(call, tmp_path):
    call("data", "phantom", "--out", tmp_path / "data", "--cases", 1, "--shape", 40, 36, 32, "--spacing", 6, 6, 8)
    images, labels = (tmp_path / "data" / one for one in ("imagesTr", "labelsTr"))
    return images / "train_0000_0000.nii.gz", labels / "train_0000.nii.gz"


@pytest.mark.parametrize("integer", [True, False])
def test_attack_reports_what_it_saved(call, phantom, tmp_path, tiny_zoo, integer) -> None:
    image, label = phantom
    if not integer:
        file = nib.load(image)
        image = tmp_path / "float.nii.gz"
        nib.Nifti1Image(file.get_fdata(dtype=np.float32), file.affine).to_filename(image)
    out = tmp_path / "out"
    call("attack", "--model", "tiny", "--image", image, "--label", label, "--attack", "ifgsm", "--epsilon", 10.2,
         "--out", out, "--collection", tiny_zoo)  # fmt: skip
    result = json.loads((out / "result.json").read_text())
    clean, saved = nib.load(image), nib.load(out / "adversarial.nii.gz")
    np.testing.assert_array_equal(saved.affine, clean.affine)
    assert saved.get_data_dtype() == (np.int16 if integer else np.float32)
    clipped = clean.get_fdata().clip(-100, 240)
    assert result["linf"] == pytest.approx(np.abs(saved.get_fdata() - clipped).max(), abs=1e-6)
    assert result["linf"] <= (10 if integer else 10.2001)
    assert (out / "panel.png").read_bytes().startswith(b"\x89PNG")
    truth = np.asanyarray(nib.load(label).dataobj)
    model = r3.load_model("tiny", collections=Collections.open([tiny_zoo]))
    for name, volume in (("clean", image), ("adversarial", out / "adversarial.nii.gz")):
        mask = np.asanyarray(nib.load(out / f"prediction_{name}.nii.gz").dataobj)
        np.testing.assert_array_equal(mask, model.predict(r3.read_volume(volume).image).mask)
        assert result[f"dsc_{name}"] == pytest.approx(r3.dsc(mask, truth), abs=1e-12)


_READ_BACK = """
import sys, nibabel, numpy, robust3d as r3
saved, clean, label = (numpy.asanyarray(nibabel.load(path).dataobj) for path in sys.argv[1:4])
model = r3.load_model("resdsn-c2f-natural/coarse")
change = numpy.abs(saved.astype(float) - clean.clip(-100, 240)).max()
print(saved.dtype, change, r3.dsc(model.predict(saved.astype(numpy.float32)).mask, label))
"""


def test_an_int16_attack_is_worth_what_its_file_is_worth_in_a_fresh_process(call, tmp_path) -> None:
    call("data", "phantom", "--out", tmp_path / "data", "--cases", 1, "--split", "test")
    image, label = (next((tmp_path / "data" / one).iterdir()) for one in ("imagesTr", "labelsTr"))
    call("attack", "--model", "resdsn-c2f-natural/coarse", "--image", image, "--label", label, "--attack", "fgsm",
         "--epsilon", 10.2, "--storage", "int16", "--out", tmp_path / "o")  # fmt: skip
    arguments = [tmp_path / "o" / "adversarial.nii.gz", image, label]
    done = subprocess.run([sys.executable, "-c", _READ_BACK, *map(str, arguments)], capture_output=True, check=True)
    dtype, change, score = done.stdout.decode().split()
    result = json.loads((tmp_path / "o" / "result.json").read_text())
    assert dtype == "int16"
    assert float(change) == result["linf"] == 10
    assert float(score) == pytest.approx(result["dsc_adversarial"], abs=1e-6)
    assert 0 < result["dsc_adversarial"] < result["dsc_clean"]


def test_an_l2_bound_holds_on_the_file(call, phantom, tmp_path, tiny_zoo) -> None:
    image, label = phantom
    call("attack", "--model", "tiny", "--image", image, "--label", label, "--attack", "fgsm", "--norm", "l2",
         "--epsilon", 3.0, "--unit", "RMS HU", "--out", tmp_path / "o", "--collection", tiny_zoo)  # fmt: skip
    result = json.loads((tmp_path / "o" / "result.json").read_text())
    saved, clean = (nib.load(path).get_fdata() for path in (tmp_path / "o" / "adversarial.nii.gz", image))
    change = saved - clean.clip(-100, 240)
    assert result["distance"] == pytest.approx(np.sqrt(np.mean(change**2)), rel=1e-6)
    # Integer files are rounded toward the clean volume.
    assert 0 < result["distance"] <= 3.0
    assert result["linf"] == np.abs(change).max() > 3


def test_predict(call, phantom, tmp_path, tiny_zoo, capsys) -> None:
    image, label = phantom
    call("predict", "--model", "tiny/coarse", "--image", image, "--label", label, "--out", tmp_path / "p",
         "--collection", tiny_zoo)  # fmt: skip
    assert "DSC" in capsys.readouterr().out
    assert nib.load(tmp_path / "p" / "prediction.nii.gz").shape == (40, 36, 32)


RECIPE = """
seed = 1
recipe = { name = "short", description = "a few steps" }
reference = { paper = "none" }
data = { source = "phantom", train_cases = 2, validation_cases = 1, shape = [40, 36, 32], spacing = [6.0, 6.0, 8.0] }
network = { name = "resdsn", width = 2 }
intensity = { low = -100.0, high = 240.0 }
deploy = { coarse_grid = "seed(1)", fine_grid = "seed(1)", margin = [2, 2, 2] }

[adversary]
algorithm = "pgd"
epsilon = 10.2
step_size = 3.4
unit = "HU"
steps = 1

[coarse]
iterations = 4
batch = 2
window = 16
sampling = "anywhere"
learning_rate = 0.01
validate_every = 2
validation_windows = 2

[fine]
iterations = 4
batch = 2
window = 16
sampling = "foreground"
start = "coarse"
learning_rate = 0.01
validate_every = 2
validation_windows = 2
"""


def test_a_trained_model_can_be_loaded_and_started_from(call, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "short.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    call("train", "short.toml", "--out", "first", "--name", "mine")
    assert "validation DSC" in capsys.readouterr().err
    (tmp_path / "zoo").mkdir()
    (tmp_path / "first" / "model").rename(tmp_path / "zoo" / "mine")
    model = r3.load_model("mine")
    assert model.margin == (2, 2, 2)
    (tmp_path / "next.toml").write_text(
        RECIPE.replace('sampling = "anywhere"', 'sampling = "anywhere"\nstart = "mine/fine"')
    )
    call("train", "next.toml", "--out", "second")
    call("train", "short.toml", "--out", "first", "--name", "mine")
    for stage in ("coarse", "fine"):
        again, before = (
            load_file(path / f"{stage}.safetensors")
            for path in (tmp_path / "first" / "model", tmp_path / "zoo" / "mine")
        )
        assert all(np.array_equal(again[name], before[name]) for name in before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_training_after_the_step_and_says_where_it_stands(tmp_path, monkeypatch, capsys, number) -> None:
    (tmp_path / "short.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    step = StageTrainer._step

    def interrupted(trainer: StageTrainer, iteration: int) -> float:
        if iteration == 2:
            os.kill(os.getpid(), number)
        return step(trainer, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(StageTrainer, "_step", interrupted)
        patch.setattr(sys, "argv", ["robust3d", "train", "short.toml", "--out", "ended"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 130
    path = Path("ended") / "coarse.checkpoint.safetensors"
    told = capsys.readouterr()
    assert f"stopped; checkpoint of step 3 in {path}" in told.out
    assert told.err.endswith("interrupted; run and train go on from here when called again\n")
    with safe_open(path, framework="pt") as content:
        assert json.loads(content.metadata()["progress"])["iteration"] == 3


def test_the_first_steps_are_recorded(call, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "short.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    call("train", "short.toml", "--out", "record", "--steps", "2")
    record = json.loads(Path("record/reproduction.json").read_text())
    assert f"weights after step 2: SHA-256 {record['weights_sha256']}" in capsys.readouterr().out
    assert not Path("record/model").exists()


def test_a_record_that_is_stopped_starts_anew(tmp_path, call, monkeypatch, capsys) -> None:
    (tmp_path / "short.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    step = StageTrainer._step

    def interrupted(trainer: StageTrainer, iteration: int) -> float:
        if iteration == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(trainer, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(StageTrainer, "_step", interrupted)
        patch.setattr(sys, "argv", ["robust3d", "train", "short.toml", "--out", "record", "--steps", "3"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 130
    told = capsys.readouterr()
    assert "stopped; a record starts from the first step when called again" in told.out
    assert "go on from here" not in told.err
    call("train", "short.toml", "--out", "record", "--steps", "3")
    assert len(json.loads(Path("record/reproduction.json").read_text())["losses"]) == 3


def test_a_slip_in_the_fine_stage_is_told_before_cases_are_read(tmp_path, monkeypatch, capsys) -> None:
    fits = 'window = 16\nsampling = "foreground"'
    assert fits in RECIPE
    (tmp_path / "short.toml").write_text(RECIPE.replace(fits, fits.replace("16", "20")))
    monkeypatch.chdir(tmp_path)

    def unread(*_: object) -> None:
        pytest.fail("a case was read")

    monkeypatch.setattr(PhantomDataset, "load", unread)
    monkeypatch.setattr(sys, "argv", ["robust3d", "train", "short.toml", "--out", "out"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "stage fine: window (20,) does not fit the network" in capsys.readouterr().err


def test_training_killed_in_the_middle_ends_with_the_same_weights(tmp_path) -> None:
    text = RECIPE.replace("iterations = 4", "iterations = 12\ncheckpoint_every = 3")
    (tmp_path / "short.toml").write_text(text)

    def train(out: str) -> list[str]:
        return [sys.executable, "-m", "robust3d", "train", str(tmp_path / "short.toml"), "--out", str(tmp_path / out)]

    subprocess.run(train("whole"), check=True, capture_output=True)
    checkpoint = tmp_path / "killed" / "coarse.checkpoint.safetensors"
    process = subprocess.Popen(train("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (tmp_path / "killed" / "model").exists()
    subprocess.run(train("killed"), check=True, capture_output=True)
    for stage in ("coarse", "fine"):
        paths = [tmp_path / run / "model" / f"{stage}.safetensors" for run in ("whole", "killed")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_dry_run_tells_what_is_left_and_measures_nothing(call, tiny_zoo, tmp_path, capsys) -> None:
    common = ("run", "tiny-bench", "--collection", tiny_zoo, "--out", tmp_path, "--attack", "random-sign")
    call(*common, "--dry-run")
    shown = capsys.readouterr().out
    assert "4 cells to measure (0 from before)" in shown
    assert "Windows are counted on the case test_0000" in shown
    assert not (tmp_path / "cells").exists()
    call(*common)
    capsys.readouterr()
    call(*common, "--dry-run")
    assert "0 cells to measure (4 from before), about 0 s" in capsys.readouterr().out
