# SPDX-License-Identifier: Apache-2.0
"""Every format of docs/models.md loads by its example, and what is unsafe or does not fit is refused."""

import io
import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import robust3d as r3
from robust3d.cli.app import main
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.zoo.formats.locate import model_path
from robust3d.zoo.members import Members
from tests.zoo.foreign import card, unet, volume, write_bundle

NETS = """
from torch import nn
def make_net(width):
    return nn.Sequential(nn.Conv3d(1, width, 3, padding=1), nn.Softplus(), nn.Conv3d(width, 2, 1))
"""


def small() -> nn.Module:
    torch.manual_seed(6)
    return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Softplus(), nn.Conv3d(4, 2, 1)).eval()


def write_card(folder: Path, name: str, file: str = "unet") -> Path:
    path = folder / f"{file}.toml"
    path.write_text(card(name))
    return path


def by_hand(network: nn.Module, path: Path, normalised: torch.Tensor) -> None:
    """The pipeline of a path gives the network's own logits in the one window that covers the volume."""
    model = r3.load_model(str(path))
    with torch.no_grad():
        expected = network(normalised[None, None])[0]
    image = volume((16, 16, 16))
    torch.testing.assert_close(model.probabilities(image), expected, atol=1e-5, rtol=1e-5)
    value, gradient = model.loss_gradient(image, (image > 60).astype(np.uint8), mode="fused")
    assert np.isfinite(value)
    assert np.abs(gradient).max() > 0


def hu(low: float, high: float) -> torch.Tensor:
    return torch.from_numpy(volume((16, 16, 16))).clamp(low, high)


@pytest.mark.parametrize("wrapping", ["plain", "checkpoint", "parallel", "safetensors"])
def test_state_dict(tmp_path, wrapping) -> None:
    network = unet()
    state = network.state_dict()
    path = write_card(tmp_path, "state-dict")
    if wrapping == "parallel":
        state = {f"module.{name}": tensor for name, tensor in state.items()}
    if wrapping == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "unet.safetensors")
        path.write_text(path.read_text().replace("unet.pt", "unet.safetensors"))
    else:
        torch.save({"epoch": 3, "state_dict": state} if wrapping == "checkpoint" else state, tmp_path / "unet.pt")
    by_hand(network, path if wrapping == "safetensors" else tmp_path / "unet.pt", (hu(-57, 164) + 57) / 221)


def test_torchscript(tmp_path) -> None:
    network = small()
    torch.jit.trace(network, torch.zeros(1, 1, 16, 16, 16)).save(tmp_path / "unet.ts")
    write_card(tmp_path, "torchscript")
    clipped = hu(-100, 240)
    by_hand(network, tmp_path / "unet.ts", (clipped - clipped.mean()) / clipped.std(correction=0))


@pytest.fixture
def exported(tmp_path) -> Path:
    torch.export.save(torch.export.export(small(), (torch.zeros(1, 1, 16, 16, 16),)), tmp_path / "unet.pt2")
    write_card(tmp_path, "torch-export")
    return tmp_path / "unet.pt2"


def test_torch_export(exported) -> None:
    by_hand(small(), exported, (torch.from_numpy(volume((16, 16, 16))) - 40) / 100)


def test_torch_export_of_any_batch(tmp_path) -> None:
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    program = torch.export.export(small(), (torch.zeros(2, 1, 16, 16, 16),), dynamic_shapes=(batch,))
    torch.export.save(program, tmp_path / "unet.pt2")
    path = write_card(tmp_path, "torch-export")
    path.write_text(path.read_text().replace("window_batch = 1\n", ""))
    by_hand(small(), path, (torch.from_numpy(volume((16, 16, 16))) - 40) / 100)


def test_factory(tmp_path, monkeypatch) -> None:
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "zoo" / "mine"
    folder.mkdir(parents=True)
    write_card(folder, "factory", "card")
    torch.save(small().state_dict(), folder / "unet.pt")
    model = r3.load_model("mine", collections=Collections.open([tmp_path]))
    with torch.no_grad():
        expected = small()(torch.from_numpy(volume((16, 16, 16)))[None, None])[0]
    torch.testing.assert_close(model.probabilities(volume((16, 16, 16))), expected, atol=1e-4, rtol=1e-5)
    for unnamed in (Collections([tmp_path]), None):
        with pytest.raises(InputError, match=r"names code to run; put it in zoo/ of a collection and name that"):
            r3.load_model("mine" if unnamed else str(folder), collections=unnamed)


def test_bundle_from_python_and_its_overrides(tmp_path) -> None:
    bundle = write_bundle(tmp_path / "spleen", unet())
    by_hand(unet(), bundle, (hu(-57, 164) + 57) / 221)
    text = card("state-dict").replace('"state-dict"', '"monai-bundle"').replace("unet.pt", "spleen")
    (tmp_path / "mine.toml").write_text(text[: text.index("[network]")] + text[text.index("[inference]") :])
    by_hand(unet(), tmp_path / "mine.toml", (hu(-57, 164) + 57) / 221)


def test_bundle_with_a_program_needs_to_be_named(tmp_path) -> None:
    bundle = write_bundle(tmp_path / "spleen", small())
    (bundle / "models" / "model.pt").unlink()
    torch.jit.script(small()).save(bundle / "models" / "model.ts")
    by_hand(small(), bundle, (hu(-57, 164) + 57) / 221)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "mine.toml").write_text('[model]\nformat = "monai-bundle"\nfile = "../spleen"\n')
    assert r3.load_model("mine", collections=Collections.open([tmp_path])).classes == 2
    with pytest.raises(InputError, match=r"is a program; name its collection"):
        r3.load_model("mine", collections=Collections([tmp_path]))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"a_min": -57', '"a_min": "$-57 + 0"', "transforms::2::a_min' is the expression"),
        ('"overlap": 0.5', '"overlap": "$1/2"', "'inferer::overlap' is the expression '$1/2'"),
        ('"channels": [8, 16]', '"channels": "@absent"', "key 'absent' is missing"),
        ('"image_key": "image"', '"image_key": "@image_key"', None),
        ('"strides": [2]', '"strides": "@network_def::strides"', "refers to itself"),
        ('"channels": [8, 16]', '"channels": [8, 32]', "has shape"),
        ('"in_channels": 1', '"in_channels": 4', "has shape"),
        ('"in_channels": 1', '"in_channels": "1"', "in_channels is '1'; it must be a number of channels"),
        ('"UNet"', '"os.system"', "code outside MONAI"),
        ('"EnsureChannelFirstd"', '"CropForegroundd"', "CropForegroundd, which robust3d does not reproduce"),
        ('"SlidingWindowInferer"', '"SimpleInferer"', "SimpleInferer"),
        ('"roi_size": [16, 16, 16]', '"roi_size": [15, 16, 16]', "multiple of 2"),
        ("{\n", "[\n", "cannot read"),
    ],
)
def test_bundles_that_cannot_be_read_as_data(tmp_path, old, new, message) -> None:
    bundle = write_bundle(tmp_path / "spleen", unet(), old, new)
    if message is None:
        # What no setting needs is not looked at.
        assert r3.load_model(str(bundle)).classes == 2
        return
    with pytest.raises(InputError) as stop:
        r3.load_model(str(bundle))
    assert message in str(stop.value)


def test_a_bundle_that_resamples_says_so(tmp_path) -> None:
    spacing = '"Spacingd", "pixdim": [1.5, 1.5, 2.0]'
    bundle = write_bundle(tmp_path / "spleen", unet(), '"EnsureChannelFirstd"', spacing)
    with pytest.warns(UserWarning, match=r"expects volumes with pixdim \[1.5, 1.5, 2.0\]"):
        r3.load_model(str(bundle))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch, capsys) -> None:
    bundle = write_bundle(tmp_path / "spleen", unet())
    torch.save({"model": Trap(tmp_path / "trapped")}, bundle / "models" / "model.pt")
    arguments = ["robust3d", "predict", "--model", str(bundle), "--image", "ct.nii.gz", "--out", str(tmp_path / "o")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "save the weights alone: torch.save(network.state_dict(), 'model.pt')" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "trapped").exists()


def _pickle(trap: Trap) -> bytes:
    buffer = io.BytesIO()
    torch.save(trap, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("part", ["inputs", "weight", "constant", "call", "expression", "native"])
def test_an_exported_program_with_more_than_operators_is_refused(exported, tmp_path, part) -> None:
    with zipfile.ZipFile(exported) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(parts)).partition("/")[0]
    trap = _pickle(Trap(tmp_path / "trapped"))

    def change(name: str, old: str, new: str) -> None:
        text = parts[f"{root}/{name}"].decode()
        assert old in text
        parts[f"{root}/{name}"] = text.replace(old, new, 1).encode()

    if part == "inputs":
        parts[f"{root}/data/sample_inputs/model.pt"] = trap
    elif part == "weight":
        parts[f"{root}/data/weights/weight_0"] = trap
        change("data/weights/model_weights_config.json", '"use_pickle": false', '"use_pickle": true')
    elif part == "constant":
        parts[f"{root}/data/constants/opaque_obj_0"] = trap
        entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False, "tensor_meta": None}
        parts[f"{root}/data/constants/model_constants_config.json"] = json.dumps({"config": {"x": entry}}).encode()
    elif part == "call":
        change("models/model.json", "torch.ops.aten.conv3d.default", "torch.hub.load")
    elif part == "expression":
        expression = {"as_expr": {"expr_str": f"__import__('os').mkdir('{tmp_path}/trapped')", "hint": None}}
        change("models/model.json", '{"as_int": 16}', json.dumps(expression))
    else:
        parts[f"{root}/data/aotinductor/model/model.so"] = b""
    with zipfile.ZipFile(exported, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"which may run any code"):
        r3.load_model(str(exported))
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("file", "message"),
    [("absent.pt", "does not exist"), ("lone.pt", "write .*lone.toml"), ("folder/empty", "is no MONAI bundle")],
)
def test_paths_to_no_model(tmp_path, file, message) -> None:
    (tmp_path / "folder" / "empty").mkdir(parents=True)
    (tmp_path / "lone.pt").touch()
    with pytest.raises(InputError, match=message):
        r3.load_model(str(tmp_path / file))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("classes = 2", "classes = 3", "has shape"),
        ("unet.pt", "other.pt", "model.file .*other.pt does not exist"),
        ('format = "state-dict"', 'format = "torchscript"', "is no TorchScript file"),
        ('file = "unet.pt"', f'file = "unet.pt"\nsha256 = "{64 * "0"}"', "has SHA-256"),
        ('"logits"', '"probabilities"', "outputs is 'probabilities', but they reach from"),
        ('scheme = "unit"', 'scheme = "fixed"', "offset and intensity.scale belong to the scheme"),
    ],
)
def test_cards_that_do_not_fit(tmp_path, old, new, message) -> None:
    torch.save(unet().state_dict(), tmp_path / "unet.pt")
    path = write_card(tmp_path, "state-dict")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        r3.load_model(str(path))


def test_names_of_the_zoo_come_first_and_paths_have_no_split(tmp_path, tiny_zoo, monkeypatch) -> None:
    collections = Collections.open([tiny_zoo])
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "tiny", unet())
    bundle = write_bundle(tmp_path / "spleen", unet())
    assert model_path("tiny", collections) is None
    assert model_path("tiny/coarse", collections) is None
    assert Members(collections)(str(bundle), "case").record() == {}
    monkeypatch.setenv("COLUMNS", "200")
    arguments = ["run", "tiny-bench", "--collection", str(tiny_zoo), "--model", "spleen", "--attack", "fgsm"]
    monkeypatch.setattr(sys, "argv", ["robust3d", *arguments, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert {row["model"] for row in rows} == {"spleen"}
