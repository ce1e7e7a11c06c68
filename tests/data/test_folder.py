# SPDX-License-Identifier: Apache-2.0
import json
import os
from pathlib import Path

import numpy as np
import pytest

from robust3d.data.folder import FolderDataset
from robust3d.data.phantoms import PhantomDataset
from robust3d.data.writing import write_folder
from robust3d.foundation.errors import InputError

SMALL = {"shape": (40, 36, 32), "spacing": (6.0, 6.0, 8.0)}


@pytest.fixture
def folder(tmp_path) -> Path:
    dataset = PhantomDataset("train", 3, **SMALL)
    labels = {"background": 0, "pancreas": 1}
    written: list[str] = []
    write_folder(dataset, tmp_path, name="P", labels=labels, report=written.append)
    assert written == dataset.names
    return tmp_path


def test_written_cases_are_read_back(folder) -> None:
    generated, stored = PhantomDataset("train", 3, **SMALL), FolderDataset.open(folder)
    assert stored.names == generated.names
    for name in stored.names:
        assert stored.load(name).sha256 == generated.load(name).sha256
        assert stored.load(name).storage.dtype == "int16"
    card = json.loads((folder / "dataset.json").read_text())
    assert (card["numTraining"], card["labels"], card["file_ending"]) == (
        3,
        {"background": 0, "pancreas": 1},
        ".nii.gz",
    )
    assert FolderDataset.open(folder).part(1, 2).names == ["train_0001", "train_0002"]


def test_a_folder_with_other_cases_is_left_alone(folder) -> None:
    labels = {"background": 0, "pancreas": 1}
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"train_0002_0000\.nii\.gz is none of the cases to be written .*1 such files"):
        write_folder(PhantomDataset("train", 2, **SMALL), folder, name="P", labels=labels)
    (folder / "imagesTr" / "train_0002_0000.nii.gz").unlink()
    with pytest.raises(InputError, match=r"labelsTr/train_0002\.nii\.gz is none of the cases to be written"):
        write_folder(PhantomDataset("train", 2, **SMALL), folder, name="P", labels=labels)
    assert all(path.read_bytes() == before[path] for path in folder.rglob("*") if path.is_file())
    (folder / "labelsTr" / "train_0002.nii.gz").unlink()
    (folder / "labelsTr" / ".DS_Store").touch()
    write_folder(PhantomDataset("train", 2, **SMALL), folder, name="P", labels=labels)
    assert FolderDataset.open(folder).names == ["train_0000", "train_0001"]


def test_splits_share_no_patient() -> None:
    images = [
        PhantomDataset(split, 2, **SMALL).load(f"{split}_0001").image for split in ("train", "validation", "test")
    ]
    assert not any(np.array_equal(one, other) for one, other in zip(images, images[1:] + images[:1], strict=True))


def change(folder: Path, **entries: object) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "dataset.json").unlink(), "cannot read .*holds a dataset.json"),
        (lambda folder: (folder / "dataset.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "dataset.json").write_text("[]"), "must hold an object"),
        (lambda folder: change(folder, channel_names={"0": "T1", "1": "T2"}), "has no .*_0001.nii.gz"),
        (
            lambda folder: change(folder, labels={"background": 0, "both": [1, "2"]}),
            "from 0 to 255, or a list of these for a region",
        ),
        (lambda folder: (folder / "labelsTr" / "train_0001.nii.gz").unlink(), "case train_0001 has no label"),
        (lambda folder: change(folder, file_ending=".nrrd"), "file_ending .*supported"),
    ],
)
def test_a_wrong_folder_is_refused(folder, damage, message) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message):
        FolderDataset.open(folder, layout="nnunet")


def test_too_few_cases_and_unknown_ones(folder) -> None:
    with pytest.raises(InputError, match="has 3 labelled cases; cases 3 to 4"):
        FolderDataset.open(folder).part(2, 2)
    with pytest.raises(InputError, match="did you mean 'train_0001'"):
        FolderDataset.open(folder).load("train_001")
    with pytest.raises(InputError, match="unknown phantom case"):
        PhantomDataset("test", 2).load("test_0002")
    with pytest.raises(InputError, match="did you mean 'validation'"):
        PhantomDataset("validate", 2)


@pytest.mark.skipif("ROBUST3D_DATA" not in os.environ, reason="ROBUST3D_DATA is not set")
def test_real_head_and_neck_ct() -> None:
    dataset = FolderDataset.open(Path(os.environ["ROBUST3D_DATA"]) / "Dataset501_HeadNeckOrgans").part(0, 2)
    for name in dataset.names:
        case = dataset.load(name)
        assert case.image.min() >= -1100
        assert set(np.unique(case.label)) <= set(range(6))
