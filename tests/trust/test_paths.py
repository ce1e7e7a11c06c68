# SPDX-License-Identifier: Apache-2.0
"""Files that cards and lists name lie in their own folder: no ``..``, no absolute path, no link that leads out."""

import csv
import json
import shutil
import sys

import nibabel as nib
import numpy as np
import pytest

from robust3d.cli.app import main
from robust3d.data.folder import FolderDataset
from robust3d.data.splits import find_split
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.foundation.paths import inside
from robust3d.zoo.load import load_model


@pytest.fixture
def root(tmp_path):
    """A folder with a case in it, and another case beside it."""
    for name in ("root/own.nii", "root/seg.nii", "other.nii", "root/imagesTr/x_0000.nii", "root/labelsTr/x.nii"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4)).to_filename(path)
    (tmp_path / "root/link.nii").symlink_to(tmp_path / "other.nii")
    (tmp_path / "root/up").symlink_to(tmp_path)
    (tmp_path / "root/kept.nii").symlink_to("own.nii")
    return tmp_path / "root"


OUTSIDE = ["../other.nii", "imagesTr/../../other.nii", "{parent}/other.nii", "link.nii", "up/other.nii"]


def datalist(root, image, label) -> None:
    (root / "list.json").write_text(json.dumps({"training": [{"image": image, "label": label}]}))


def decathlon(root, image, label) -> None:
    content = {"modality": {"0": "CT"}, "labels": {"0": "background"}, "training": [{"image": image, "label": label}]}
    (root / "dataset.json").write_text(json.dumps(content))


def table(root, image, label) -> None:
    with (root / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "label"), (image, label)])


@pytest.mark.parametrize("write", [datalist, decathlon, table])
@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize("half", ["image", "label"])
def test_lists_name_no_file_outside_their_folder(root, write, outside, half) -> None:
    pair = {"image": "own.nii", "label": "seg.nii"}
    write(root, **pair)
    assert len(FolderDataset.open(root).names) == 1
    write(root, **pair | {half: outside.format(parent=root.parent)})
    with pytest.raises(InputError, match=r"leads out of .*other\.nii"):
        FolderDataset.open(root)


@pytest.mark.parametrize("write", [datalist, decathlon, table])
def test_a_link_within_the_folder_is_followed(root, write) -> None:
    write(root, "kept.nii", "seg.nii")
    assert FolderDataset.open(root).names == ["kept"]


def nnunet(root, ending) -> None:
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0}, "file_ending": ending}
    (root / "dataset.json").write_text(json.dumps(content))


@pytest.mark.parametrize("ending", ["/../../other.nii", "", "**", "/*", ["x"], 3, "\x1b"])
def test_the_ending_of_nnunet_is_one_of_nifti(root, ending) -> None:
    nnunet(root, ".nii")
    assert FolderDataset.open(root).names == ["x"]
    nnunet(root, ending)
    with pytest.raises(InputError, match=r"has file_ending .*supported: \.nii, \.nii\.gz"):
        FolderDataset.open(root)


def test_a_link_in_a_folder_of_nnunet_does_not_lead_out(root) -> None:
    (root / "imagesTr/y_0000.nii").symlink_to(root.parent / "other.nii")
    (root / "labelsTr/y.nii").symlink_to(root / "labelsTr/x.nii")
    nnunet(root, ".nii")
    with pytest.raises(InputError, match=r"case y: .*leads out of"):
        FolderDataset.open(root)


def test_data_check_tells_it_with_exit_code_2(root, monkeypatch, capsys) -> None:
    datalist(root, "../other.nii", "seg.nii")
    monkeypatch.setattr(sys, "argv", ["robust3d", "data", "check", str(root)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "leads out of" in capsys.readouterr().out


@pytest.fixture
def zoo(tiny_zoo, tmp_path):
    return shutil.copytree(tiny_zoo, tmp_path / "own")


@pytest.mark.parametrize(
    "name", ["../coarse.safetensors", "/tmp/coarse.safetensors", "a/b/c.safetensors", "../../x.safetensors", "..", "."]
)
def test_cards_name_weights_of_the_zoo_alone(zoo, name) -> None:
    card = zoo / "zoo/tiny/card.toml"
    card.write_text(card.read_text().replace("coarse.safetensors", name))
    with pytest.raises(InputError, match=r"'coarse\.weights'"):
        load_model("tiny", collections=Collections.open([zoo]))


def test_weights_are_no_link_to_elsewhere(zoo, tmp_path) -> None:
    weights = zoo / "zoo/tiny/coarse.safetensors"
    weights.rename(tmp_path / "elsewhere.safetensors")
    weights.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(InputError, match=r"coarse\.safetensors leads out of .*elsewhere"):
        load_model("tiny", collections=Collections.open([zoo]))


@pytest.mark.parametrize("name", ["../splits/own", "/etc/passwd", "..", "own.json"])
def test_splits_are_found_by_name_alone(tmp_path, name) -> None:
    folder = tmp_path / "benchmarks/splits"
    folder.mkdir(parents=True)
    (folder / "own.json").write_text(json.dumps({"name": "own", "train": ["a"], "test": ["b"]}))
    collections = Collections.open([tmp_path])
    assert find_split("own", collections).test == ("b",)
    with pytest.raises(InputError, match="unknown split"):
        find_split(name, collections)


@pytest.mark.parametrize("name", ["a\0b", "loop", "x/" + "y" * 300])
def test_what_is_no_path_is_told_or_harmless(tmp_path, name) -> None:
    (tmp_path / "loop").symlink_to("loop")
    try:
        found = inside(tmp_path, name)
    except InputError as error:
        told = str(error)
        found = tmp_path / name
    else:
        told = "is no path"
    assert found == tmp_path / name
    assert "is no path" in told
