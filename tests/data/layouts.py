# SPDX-License-Identifier: Apache-2.0
"""The same three labelled cases written in each layout."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

NAMES = ("case_a", "case_b", "case_ü")


def arrays(name: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(sum(map(ord, name)))
    return random.integers(-200, 300, (6, 5, 4)).astype(np.int16), random.integers(0, 3, (6, 5, 4)).astype(np.uint8)


def save(array: np.ndarray, path: Path, *, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine), path)


def write_pairs(root: Path, image: str, label: str) -> None:
    for name in NAMES:
        pixels, truth = arrays(name)
        save(pixels, root / image.format(name))
        save(truth, root / label.format(name))


def nnunet(root: Path) -> None:
    write_pairs(root, "imagesTr/{}_0000.nii.gz", "labelsTr/{}.nii.gz")
    labels = {"background": 0, "organ": 1, "tumour": 2}
    card = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 3, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(card))


def listed(image: str, label: str) -> list[dict[str, str]]:
    return [{"image": image.format(name), "label": label.format(name)} for name in NAMES]


def decathlon(root: Path) -> None:
    write_pairs(root, "imagesTr/{}.nii.gz", "labelsTr/{}.nii.gz")
    pairs = listed("./imagesTr/{}.nii.gz", "./labelsTr/{}.nii.gz")
    labels = {"0": "background", "1": "organ", "2": "tumour"}
    (root / "dataset.json").write_text(json.dumps({"modality": {"0": "CT"}, "labels": labels, "training": pairs}))


def datalist(root: Path) -> None:
    write_pairs(root, "ct/{}.nii", "seg/{}.nii")
    (root / "my_list.json").write_text(json.dumps({"training": listed("ct/{}.nii", "seg/{}.nii"), "testing": []}))


def pairs(root: Path) -> None:
    write_pairs(root, "images/{}.nii.gz", "labels/{}.nii.gz")


def table(root: Path) -> None:
    write_pairs(root, "{}/ct.nii.gz", "{}/seg.nii.gz")
    with (root / "cases.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("case", "image", "label"))
        writer.writerows((name, f"{name}/ct.nii.gz", f"{name}/seg.nii.gz") for name in NAMES)


WRITERS: dict[str, Callable[[Path], None]] = {
    "nnunet": nnunet,
    "decathlon": decathlon,
    "datalist": datalist,
    "pairs": pairs,
    "csv": table,
}
