# SPDX-License-Identifier: Apache-2.0
"""From an nnU-Net folder of two channels to saved adversarial volumes, by commands alone, read back by nibabel."""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.networks.nets import UNet

import robust3d as r3
from robust3d.cli.app import main

SLOPES = (1.0, 0.5)
SHAPE = (18, 17, 16)
AFFINE = np.diag([2.0, 1.5, 3.0, 1.0])

MODEL = """
[model]
format = "state-dict"
file = "unet.pt"

[network]
name = "monai:UNet"
channels = 2
options = { channels = [4, 8], strides = [2] }

[inference]
window = [16, 16, 16]
weighting = "gaussian"

[intensity]
scheme = "fixed"
low = [-500.0, 0.0]
high = [500.0, 900.0]
offset = [50.0, 300.0]
scale = [80.0, 120.0]
"""

BENCHMARK = """
[benchmark]
name = "two"
title = "two channels"
models = ["mri"]
attacks = ["fgsm-exact", "random-sign"]

[data]
source = "folder"

[threat]
epsilon = [12.0, 3.25]
unit = "intensity"
valid = [[-500.0, 500.0], [0.0, 900.0]]

[reference]
paper = "none"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A collection with a model and a benchmark, and beside it a folder of cases."""
    folder = tmp_path / "zoo" / "mri"
    folder.mkdir(parents=True)
    (folder / "card.toml").write_text(MODEL)
    torch.manual_seed(0)
    net = UNet(spatial_dims=3, in_channels=2, out_channels=2, channels=[4, 8], strides=[2])
    torch.save(net.state_dict(), folder / "unet.pt")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "two.toml").write_text(BENCHMARK)
    data = tmp_path / "data"
    for part in ("imagesTr", "labelsTr"):
        (data / part).mkdir(parents=True)
    random = np.random.default_rng(0)
    for case in ("a", "b"):
        for number, slope in enumerate(SLOPES):
            stored = random.normal(50 + 500 * number, 80, SHAPE).round().astype(np.int16)
            file = nib.Nifti1Image(stored, AFFINE)
            file.header.set_slope_inter(slope, 0)
            nib.save(file, data / "imagesTr" / f"{case}_{number:04d}.nii.gz")
        label = np.zeros(SHAPE, np.uint8)
        label[4:12, 5:11, 3:13] = 1
        nib.save(nib.Nifti1Image(label, AFFINE), data / "labelsTr" / f"{case}.nii.gz")
    card = {"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "organ": 1}}
    (data / "dataset.json").write_text(json.dumps(card))
    return tmp_path


@pytest.fixture
def call(monkeypatch, root):
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return run


def images(root: Path, case: str = "a") -> list[object]:
    return [word for n in (0, 1) for word in ("--image", root / "data" / "imagesTr" / f"{case}_{n:04d}.nii.gz")]


def test_a_folder_is_checked_run_and_reported(call, root, capsys) -> None:
    assert call("data", "check", root / "data") == 0
    assert "channels: 2" in capsys.readouterr().out
    own = ("--collection", root)
    assert call("run", "two", "--data", root / "data", "--out", root / "run", "--device", "cpu", *own) == 0
    rows = [json.loads(line) for line in (root / "run" / "results.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    for row in rows:
        assert row["threat"]["epsilon"] == [12.0, 3.25]
        if row["attack"] == "clean":
            continue
        assert row["details"]["largest_change_by_channel"] == pytest.approx([12, 3.25], abs=1e-3)
        assert row["distance"] == pytest.approx(12, abs=1e-2)
        assert row["settings"]["pipeline"]["channels"] == 2
    again = ("report", root / "run", "--data", root / "data", "--out", root / "html", "--cases", 1, *own)
    assert call(*again) == 0
    page = next((root / "html").glob("case-*.html")).read_text()
    assert "Shown is channel 1 of 2" in page or "Shown is channel 0 of 2" in page
    assert call("run", "two", "--data", root / "data", "--out", root / "one", "--epsilon", 2, "--attack", "identity",
                *own) == 0  # fmt: skip
    (row, *_) = [json.loads(line) for line in (root / "one" / "results.jsonl").read_text().splitlines()]
    assert row["threat"]["epsilon"] == 2


def test_saved_files_hold_each_channel_within_its_epsilon(call, root) -> None:
    out = root / "out"
    assert call("attack", "--model", "mri", *images(root), "--label", root / "data" / "labelsTr" / "a.nii.gz",
                "--attack", "ifgsm-relative", "--epsilon", 12, "--epsilon", 3.25, "--unit", "intensity",
                "--valid", -500, 500, "--valid", 0, 900, "--out", out, "--collection", root) == 0  # fmt: skip
    result = json.loads((out / "result.json").read_text())
    for number, (bound, slope) in enumerate(zip((12, 3.25), SLOPES, strict=True)):
        clean = nib.load(root / "data" / "imagesTr" / f"a_{number:04d}.nii.gz")
        saved = nib.load(out / f"adversarial_{number:04d}.nii.gz")
        change = np.abs(saved.get_fdata() - clean.get_fdata().clip(*((-500, 500), (0, 900))[number]))
        # Rounded toward the clean value, in steps of the file.
        assert change.max() == slope * (bound // slope)
        assert saved.get_data_dtype() == np.int16
        assert (saved.dataobj.slope, saved.dataobj.inter) == (slope, 0)
        np.testing.assert_allclose(saved.affine, AFFINE)
    assert result["details"]["largest_change_by_channel"] == pytest.approx([12, 3.25], abs=1e-3)
    assert result["threat"]["valid"] == [[-500, 500], [0, 900]]
    assert (out / "panel.png").stat().st_size > 0
    model = r3.load_model(str(root / "zoo" / "mri"))
    again = r3.read_volume([out / "adversarial_0000.nii.gz", out / "adversarial_0001.nii.gz"])
    mask = np.asanyarray(nib.load(out / "prediction_adversarial.nii.gz").dataobj)
    np.testing.assert_array_equal(mask, model.predict(again.image).mask)


@pytest.mark.parametrize("command", ["predict", "attack", "run"])
def test_another_number_of_channels_is_one_sentence(call, root, capsys, command) -> None:
    label = root / "data" / "labelsTr" / "a.nii.gz"
    words: list[object] = ["--model", "mri", "--collection", root, "--out", root / "out"]
    if command == "run":
        card = json.loads((root / "data" / "dataset.json").read_text()) | {"channel_names": {"0": "T1"}}
        (root / "data" / "dataset.json").write_text(json.dumps(card))
        (root / "benchmarks" / "two.toml").write_text(
            BENCHMARK.replace("[12.0, 3.25]", "12.0").replace("[[-500.0, 500.0], [0.0, 900.0]]", "[-500.0, 500.0]")
        )
        words = ["two", "--data", root / "data", *words]
    else:
        words += ["--image", images(root)[1], "--label", label]
    if command == "attack":
        words += ["--attack", "fgsm", "--epsilon", 1, "--unit", "intensity"]
    capsys.readouterr()
    assert call(command, *words) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "the model takes 2 channels and" in errors[0]
    assert "has 1;" in errors[0]


def test_bounds_for_another_number_of_channels_are_one_sentence(call, root, capsys) -> None:
    words = ("run", "two", "--data", root / "data", "--out", root / "x", "--collection", root)
    assert call(*words, "--epsilon", 1, "--epsilon", 2, "--epsilon", 3) == 2
    assert "3 epsilons and 2 valid ranges are given" in capsys.readouterr().err
    (root / "benchmarks" / "two.toml").write_text(BENCHMARK.replace("[12.0, 3.25]", "[1.0, 2.0, 3.0]").replace(
        "valid = [[-500.0, 500.0], [0.0, 900.0]]", ""))  # fmt: skip
    assert call(*words) == 2
    assert "the threat model has 3 epsilons and a volume 2 channels" in capsys.readouterr().err
