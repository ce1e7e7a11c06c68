# SPDX-License-Identifier: Apache-2.0
"""A run as it was passes; any byte that changed in a cell, a volume or a weight file is told with both values."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from robust3d.cli.app import main
from robust3d.data.phantoms import PhantomDataset
from robust3d.data.writing import write_folder
from tests.zoo.foreign import unet, write_bundle

DATA = 'source = "phantom"\ncases = 2\nshape = [40, 36, 32]\nspacing = [6.0, 6.0, 8.0]'


def call(*words: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["robust3d", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
    return int(caught.value.code or 0)


@pytest.fixture(scope="module")
def original(tiny_zoo, tmp_path_factory) -> Path:
    """A folder with a collection, two cases and a finished run."""
    root = tmp_path_factory.mktemp("verify")
    shutil.copytree(tiny_zoo, root / "own")
    card = (
        (tiny_zoo / "benchmarks/tiny-bench.toml")
        .read_text()
        .replace(DATA, 'source = "folder"')
        .replace("tiny-bench", "own")
    )
    assert "folder" in card
    (root / "own/benchmarks/own.toml").write_text(card)
    dataset = PhantomDataset("test", 2, (40, 36, 32), (6.0, 6.0, 8.0))
    write_folder(dataset, root / "data", name="P", labels={"background": 0, "pancreas": 1}, report=lambda _: None)
    attacks = ["--attack", "fgsm", "--attack", "random-sign"]
    where = ["--data", root / "data", "--collection", root / "own"]
    assert call("run", "own", "--out", root / "run", *attacks, *where) == 0
    return root


@pytest.fixture
def root(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def verify(root: Path, *more: object) -> int:
    return call("verify", root / "run", "--data", root / "data", "--collection", root / "own", *more)


def flip(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def test_a_run_as_it_was_passes(root, capsys) -> None:
    assert verify(root, "--cells", 6) == 0
    out = capsys.readouterr().out
    assert "6 lines and 6 cell files agree" in out
    assert "1 models and 2 volumes; computed 6 cells again" in out
    assert out.endswith("verified\n")


def test_the_sample_follows_from_the_seed(root, capsys) -> None:
    drawn = []
    for seed in (1, 1, 2, 3, 4):
        verify(root, "--cells", 1, "--seed", seed)
        drawn.append(capsys.readouterr().err)
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_any_flipped_bit_of_a_cell_is_found(root, capsys) -> None:
    random = np.random.default_rng(0)
    path = sorted((root / "run/cells").glob("*.json"))[2]
    whole = path.read_bytes()
    # The name of the benchmark may differ, since cells serve several.
    name = json.dumps("own").encode()
    first = whole.index(b'"benchmark": ' + name)
    places = [place for place in random.integers(len(whole), size=12) if not first <= place < first + 20]
    for place in places:
        flip(path, int(place), int(random.integers(8)))
        assert verify(root, "--cells", 0) == 1, whole[place - 20 : place + 20]
        assert path.stem in capsys.readouterr().out
        path.write_bytes(whole)


def changed_lines(root: Path, change) -> None:
    file = root / "run/results.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    change(lines)
    file.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))


def test_every_problem_is_told_at_once(root, capsys) -> None:
    def change(lines) -> None:
        lines[0]["classes"]["1"]["tp"] += 1
        lines[1]["seed"] = 5
        lines[2]["linf"] = 99.0
        lines[3]["threat"]["epsilon"] = 99.0

    changed_lines(root, change)
    weights = root / "own/zoo/tiny/fine.safetensors"
    flip(weights, weights.stat().st_size // 2)
    assert verify(root) == 1
    out = capsys.readouterr().out
    for told in (
        "line 1 of",
        "line 2 of",
        "linf is 99.0 in line 3 of",
        "line 4 of",
        f"weight file {weights} has SHA-256",
        "computed 0 cells again",
    ):
        assert told in out


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_of_a_weight_file_is_found(root, capsys, bit) -> None:
    flip(root / "own/zoo/tiny/coarse.safetensors", -5, bit)
    assert verify(root, "--cells", 0) == 1
    assert "coarse.safetensors has SHA-256" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["imagesTr/test_0001_0000.nii.gz", "labelsTr/test_0000.nii.gz"])
def test_a_flipped_bit_of_a_volume_is_found(root, capsys, name) -> None:
    path = root / "data" / name
    flip(path, path.stat().st_size // 2, 3)
    assert verify(root, "--cells", 0) == 1
    assert str(path) in capsys.readouterr().out


def test_a_voxel_that_changed_is_told_with_both_hashes(root, capsys) -> None:
    import nibabel as nib

    path = root / "data/imagesTr/test_0001_0000.nii.gz"
    file = nib.load(path)
    voxels = np.asanyarray(file.dataobj).copy()
    voxels[20, 18, 16] += 1
    nib.Nifti1Image(voxels, file.affine, file.header).to_filename(path)
    assert verify(root, "--cells", 6) == 1
    out = capsys.readouterr().out
    (stored,) = {
        one["volume_sha256"]
        for one in map(json.loads, (root / "run/results.jsonl").open())
        if one["case"] == "test_0001"
    }
    assert f"volume of case test_0001 ({path}, " in out
    assert f": {stored} in " in out
    assert "computed 3 cells again" in out


def test_figures_that_agree_with_each_other_and_not_with_the_model_are_found(root, capsys) -> None:
    def change(record) -> None:
        # One voxel more, everywhere.
        counts = record["classes"]["1"]
        for part in (counts, record):
            part["tp"] += 1
            part["tn"] -= 1
        record["dsc"] = 2 * counts["tp"] / (2 * counts["tp"] + counts["fp"] + counts["fn"])

    changed_lines(root, lambda lines: change(lines[1]))
    key = json.loads((root / "run/results.jsonl").read_text().splitlines()[1])["cell"]
    path = root / f"run/cells/{key}.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    assert verify(root, "--cells", 0) == 0
    assert verify(root, "--cells", 6) == 1
    out = capsys.readouterr().out
    assert "in the results" in out
    assert "class 1 has" in out


@pytest.mark.parametrize(
    ("words", "told"), [(["--cells", -1], "--cells must be 0 or more"), (["--seed", -1], "--seed must be 0 or more")]
)
def test_what_cannot_begin(root, capsys, words, told) -> None:
    assert verify(root, *words) == 2
    assert told in capsys.readouterr().err
    assert call("verify", root / "data") == 2
    assert "results.jsonl does not exist" in capsys.readouterr().err
    assert call("verify", root / "run", "--collection", root / "own") == 2
    assert "--data" in capsys.readouterr().err


def test_weights_of_another_format_are_loaded_and_compared(original, tmp_path, capsys) -> None:
    bundle = write_bundle(tmp_path / "bundle", unet())
    where = ["--data", original / "data", "--collection", original / "own"]
    assert call("run", "own", "--model", bundle, "--attack", "random-sign", "--out", tmp_path / "run", *where) == 0
    assert call("verify", tmp_path / "run", *where) == 0
    capsys.readouterr()
    weights = {name: tensor + 0.01 for name, tensor in unet().state_dict().items()}
    torch.save(weights, bundle / "models" / "model.pt")
    assert call("verify", tmp_path / "run", *where) == 1
    out = capsys.readouterr().out
    assert f"model {bundle} has weights of SHA-256" in out
    assert "computed 0 cells again" in out
