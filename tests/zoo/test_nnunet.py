# SPDX-License-Identifier: Apache-2.0
"""Results folders of nnU-Net: what a card chooses, older plans, one command against Python, and what is refused."""

import json
import re
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import robust3d as r3
from robust3d.benchmarks.diagnostics.exam import Exam
from robust3d.benchmarks.diagnostics.state import network_state
from robust3d.benchmarks.workload import windows_of
from robust3d.cli.app import main
from robust3d.foundation.errors import InputError
from tests.zoo.foreign import blocks, card
from tests.zoo.nnunet_folder import NAME, architecture, case, labels, plans, write_results
from tests.zoo.test_formats import Trap


def write_case(folder: Path) -> None:
    image, affine = case((14, 13, 9)), np.diag([1.2, 1.2, 2.5, 1])
    nib.Nifti1Image(image, affine).to_filename(folder / "ct.nii.gz")
    label = (image > 60).astype(np.uint8) + (image > 110)
    nib.Nifti1Image(label.astype(np.uint8), affine).to_filename(folder / "seg.nii.gz")


@pytest.fixture
def volume(tmp_path) -> r3.Volume:
    write_case(tmp_path)
    return r3.read_volume(tmp_path / "ct.nii.gz", label=tmp_path / "seg.nii.gz")


def test_settings_tell_grid_folds_and_mirroring(tmp_path) -> None:
    settings = r3.load_model(str(write_results(tmp_path, folds=("0", "3", "all")))).settings()
    assert settings["model_grid"]["spacing"] == [2.0, 1.25, 1.5]
    assert settings["model_grid"]["axes"] == [2, 1, 0]
    assert settings["pipeline"]["network"]["folds"] == ["0", "3"]
    assert settings["pipeline"]["network"]["mirror_axes"] == [0, 1, 2]
    assert settings["pipeline"]["network"]["configuration"] == "3d_fullres"
    assert (settings["pipeline"]["grid"], settings["pipeline"]["weighting"]) == ("step(0.5)", "nnunet")


def test_the_card_of_the_docs_chooses_fold_and_no_mirroring(tmp_path, volume) -> None:
    write_results(tmp_path, folds=("0", "1"))
    text = card("nnunet")
    path = tmp_path / "mine.toml"
    path.write_text(text)
    chosen = r3.load_model(str(path))
    assert chosen.settings()["pipeline"]["network"]["folds"] == ["1"]
    assert chosen.settings()["pipeline"]["network"]["mirror_axes"] == []
    alone = r3.load_model(str(write_results(tmp_path / "b", folds=("0", "1"), mirror_axes=None)))
    assert alone.weights_sha256 != chosen.weights_sha256
    windows = torch.randn(1, 1, 12, 16, 14, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            chosen.model.network(windows), alone.model.network.networks[1](windows), atol=1e-6, rtol=1e-6
        )


def test_older_plans_describe_the_same_network(tmp_path) -> None:
    new = r3.load_model(str(write_results(tmp_path / "new")))
    plan = plans()
    full = plan["configurations"]["3d_fullres"]
    options = full.pop("architecture")["arch_kwargs"]
    full |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 8,
        "n_conv_per_stage_encoder": options["n_conv_per_stage"],
        "n_conv_per_stage_decoder": options["n_conv_per_stage_decoder"],
        "pool_op_kernel_sizes": options["strides"],
        "conv_kernel_sizes": options["kernel_sizes"],
    }
    old = r3.load_model(str(write_results(tmp_path / "old", plan=plan)))
    assert old.weights_sha256 == new.weights_sha256
    assert old.settings()["pipeline"]["network"]["options"] == new.settings()["pipeline"]["network"]["options"]


def test_one_command_and_python_make_the_same_voxels(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path)
    write_results(tmp_path, mirror_axes=(0,))
    command = next(line for block in blocks("sh") for line in block.splitlines() if NAME in line and "attack" in line)
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    script = next(block for block in blocks("python") if NAME in block)
    exec(compile(script, "docs/models.md", "exec"), {})
    ours = r3.read_volume(tmp_path / "adversarial.nii.gz")
    theirs = r3.read_volume(tmp_path / "out" / "adversarial.nii.gz")
    np.testing.assert_array_equal(ours.image, theirs.image)
    assert ours.spacing == pytest.approx((1.2, 1.2, 2.5))
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["pipeline"]["model_grid"]["image"]["order"] == 3
    predicted = nib.load(tmp_path / "out" / "prediction_adversarial.nii.gz")
    assert predicted.shape == ours.shape
    assert result["linf"] == pytest.approx(10.2, abs=1e-3)


def test_the_doctor_and_estimates_see_its_windows(tmp_path, volume) -> None:
    model = r3.load_model(str(write_results(tmp_path, mirror_axes=None))).place(volume)
    (counted,) = windows_of(model, volume)
    # Without the empty borders 12 x 12 x 9 voxels of 1.2 x 1.2 x 2.5 mm are 11 x 12 x 10 of 2 x 1.25 x 1.5.
    assert model.on_grid(volume.image).shape == (11, 12, 10)
    assert counted.all == 1
    threat = r3.ThreatModel(norm="linf", epsilon=10.2, unit="HU", valid=(-100, 240))
    assert network_state(Exam(model, volume, threat)).verdict == "ok"


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numbers_of_both_numpys_are_read(tmp_path, module) -> None:
    folder = write_results(tmp_path)
    path = folder / "fold_0" / "checkpoint_final.pth"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = (name for name in parts if name.endswith("data.pkl"))
    parts[pickled], count = re.subn(rb"numpy\._?core\.multiarray", module.encode(), parts[pickled])
    assert count
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert r3.load_model(str(folder)).classes == 3


def test_the_way_out_of_a_refused_checkpoint_works(tmp_path, monkeypatch) -> None:
    folder = write_results(tmp_path)
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    torch.save(content | {"extra": Trap(tmp_path / "trapped")}, path)
    with pytest.raises(InputError, match="may run any code; where you trust it") as stop:
        r3.load_model(str(folder))
    assert not (tmp_path / "trapped").exists()
    monkeypatch.chdir(path.parent)
    command = str(stop.value).partition('python -c "')[2].removesuffix('"')
    exec(compile(command, "message", "exec"), {})
    assert (tmp_path / "trapped").exists()
    assert r3.load_model(str(folder)).settings()["pipeline"]["network"]["mirror_axes"] == [0, 1, 2]


def _full(**changes):
    return {"plan": plans(**changes)}


def _plan(**changes):
    return {"plan": plans() | changes}


def _dataset(**changes):
    return {"dataset": labels() | changes}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"configuration": "3d_fulres"}, "has no configuration '3d_fulres'; did you mean '3d_fullres'?"),
        ({"configuration": "2d"}, "configuration '2d' is 2D"),
        ({"configuration": "3d_cascade_fullres"}, "second stage of a cascade after '3d_lowres'"),
        ({"mirror_axes": (0, 3)}, "allows mirroring along the axes"),
        (_full(normalization_schemes=["RescaleTo01Normalization"]), "has 'RescaleTo01Normalization'; robust3d"),
        (_full(normalization_schemes=["CTNormalization"] * 2), "normalization_schemes has 2 entries"),
        (_full(resampling_fn_data="resample_torch_fornnunet"), "reproduces resample_data_or_seg_to_shape alone"),
        (_full(preprocessor_name="MyPreprocessor"), "preprocessor_name is 'MyPreprocessor'"),
        (_full(patch_size=[12, 16, -14]), "patch_size.2"),
        (_full(spacing=None), "spacing"),
        (_full(inherits_from="3d_lowres"), "inherits from itself"),
        (_plan(image_reader_writer="Tiff3DIO"), "image_reader_writer is 'Tiff3DIO'"),
        (_plan(transpose_forward=[0, 0, 1]), "must order the axes"),
        (_plan(configurations=[]), "has no table of configurations"),
        (_plan(foreground_intensity_properties_per_channel={}), "CTNormalization needs foreground_intensity"),
        (
            _dataset(channel_names={"0": "T1", "1": "T2"}),
            "normalization_schemes has 1 entries and dataset.json names 2",
        ),
        (_dataset(channel_names={}), "has no channel_names"),
        (_dataset(labels={"organ": 1}), "with background 0"),
        (_dataset(labels={"background": 0, "organ": 2}), "labels [0, 2]; they must be 0 to 1"),
        (_dataset(labels={"background": 0, "organ": 1.5}), "label 'organ' is 1.5"),
        (_dataset(labels={"background": 0, "whole": [1, 2], "core": 2}), "regions_class_order None"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:30],
)
def test_folders_that_do_not_fit(tmp_path, options, message) -> None:
    plan = options.get("plan")
    if plan and not isinstance(plan["configurations"], dict):
        options["plan"] = plans()
    folder = write_results(tmp_path, **options)
    if plan:
        (folder / "plans.json").write_text(json.dumps(plan))
    with pytest.raises(InputError) as stop:
        r3.load_model(str(folder))
    assert message in str(stop.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"features_per_stage": [4, 8]', '"features_per_stage": [4, 16]', "has shape"),
        ('"n_conv_per_stage": [1, 1]', '"n_conv_per_stage": [2, 1]', "has no layer"),
        ('"n_conv_per_stage": [1, 1]', '"n_conv_per_stage": [1]', "refuses the options"),
        ("unet.PlainConvUNet", "unet.ResidualUNet", "is none of PlainConvUNet, ResidualEncoderUNet"),
        ("torch.nn.modules.conv.Conv3d", "torch.nn.modules.conv.Conv2d", "robust3d needs a 3D one"),
        ("torch.nn.LeakyReLU", "os.system", "layers of torch.nn alone"),
        ("torch.nn.LeakyReLU", "torch.nn.functional", "layers of torch.nn alone"),
        ('"patch_size": [12, 16, 14]', '"patch_size": [12, 16, 15]', "multiples of the network's stride"),
        ('"architecture"', '"architektur"', "no key 'architecture'"),
        ("{", "[", "not valid JSON"),
    ],
)
def test_plans_of_another_network(tmp_path, old, new, message) -> None:
    folder = write_results(tmp_path)
    text = (folder / "plans.json").read_text()
    assert old in text
    (folder / "plans.json").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as stop:
        r3.load_model(str(folder))
    assert message in str(stop.value)


@pytest.mark.parametrize("missing", ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"])
def test_missing_files_are_named_by_one_sentence(tmp_path, monkeypatch, capsys, missing) -> None:
    write_case(tmp_path)
    folder = write_results(tmp_path)
    (folder / missing).unlink()
    arguments = ["predict", "--model", str(folder), "--image", str(tmp_path / "ct.nii.gz"), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["robust3d", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert Path(missing).name in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "damaged or holds Python objects"),
        ({"state_dict": {}}, "holds no network_weights"),
        ({"network_weights": {"a": torch.zeros(1)}}, "does not name its configuration"),
    ],
    ids=["damaged", "other", "nameless"],
)
def test_checkpoints_of_another_kind(tmp_path, content, message) -> None:
    folder = write_results(tmp_path)
    path = folder / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InputError, match=message):
        r3.load_model(str(folder))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('folds = ["1"]', 'folds = ["2"]', r"fold_2.checkpoint_final.pth does not exist"),
        ('folds = ["1"]', 'folds = ["../1"]', "folds"),
        ('folds = ["1"]', 'checkpoint = "../a.pth"', "checkpoint"),
        ("mirroring = false", "step = 1.5", "step"),
        ("[nnunet]", '[intensity]\nscheme = "none"\n[nnunet]', "leave inference and intensity out"),
        ('format = "nnunet"', 'format = "monai-bundle"', "belongs to the format 'nnunet'"),
    ],
)
def test_cards_that_do_not_fit(tmp_path, old, new, message) -> None:
    write_results(tmp_path, folds=("0", "1"))
    text = card("nnunet")
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        r3.load_model(str(tmp_path / "mine.toml"))


def test_residual_encoders_are_built(tmp_path) -> None:
    folder = write_results(tmp_path, plan=plans(architecture=architecture("ResidualEncoderUNet")))
    assert r3.load_model(str(folder)).settings()["pipeline"]["network"]["name"] == "ResidualEncoderUNet"
