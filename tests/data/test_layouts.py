# SPDX-License-Identifier: Apache-2.0
"""Every layout is recognised and read voxel by voxel; everything that is wrong is told at once."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from robust3d.data.classes import ClassCard
from robust3d.data.folder import FolderDataset
from robust3d.data.layouts.registry import LAYOUTS, find_layout
from robust3d.data.rescale import rescale_to_percent
from robust3d.foundation.errors import InputError
from robust3d.volume.volume import Volume
from tests.data.layouts import NAMES, WRITERS, arrays, save

layouts = pytest.mark.parametrize("name", WRITERS)


@layouts
def test_a_layout_is_recognised_and_read(name, tmp_path) -> None:
    WRITERS[name](tmp_path)
    assert find_layout(tmp_path).name == name
    dataset = FolderDataset.open(tmp_path)
    assert dataset.names == sorted(NAMES)
    for case in dataset.only(NAMES).names:
        volume, (image, label) = dataset.load(case), arrays(case)
        assert np.array_equal(volume.image, image)
        assert np.array_equal(volume.known_label(), label)
        assert volume.spacing == (2, 3, 4)
        assert volume.name == case


@layouts
def test_all_problems_are_told_at_once(name, tmp_path) -> None:
    WRITERS[name](tmp_path)
    dataset = FolderDataset.open(tmp_path)
    first, second, third = (dataset.entries[case] for case in sorted(NAMES))
    save(np.zeros((6, 5, 3), np.uint8), first.label)
    second.image.write_bytes(second.image.read_bytes()[:20])
    save(arrays(third.name)[1], third.label, affine=np.eye(4))
    with pytest.raises(InputError) as caught:
        FolderDataset.open(tmp_path).only(NAMES)
    message = str(caught.value)
    assert "has 3 problems" in message
    for part in ("shape (6, 5, 4) of image", "is not a readable NIfTI file", "spacing (2, 3, 4) mm"):
        assert part in message


def test_halves_of_pairs_duplicates_and_an_empty_folder(tmp_path) -> None:
    WRITERS["pairs"](tmp_path / "p")
    (tmp_path / "p" / "labels" / "case_a.nii.gz").rename(tmp_path / "p" / "labels" / "other.nii.gz")
    with pytest.raises(InputError, match=r"2 problems: \(1\) case case_a has no label .* \(2\) label .*other"):
        FolderDataset.open(tmp_path / "p")
    WRITERS["csv"](tmp_path / "c")
    with (tmp_path / "c" / "cases.csv").open("a", encoding="utf-8") as stream:
        stream.write("case_a,case_b/ct.nii.gz,case_b/seg.nii.gz\nx,,y.nii\n")
    with pytest.raises(InputError, match=r"entry 5 of .*has no image; .* two cases are called case_a"):
        FolderDataset.open(tmp_path / "c")
    (tmp_path / "c" / "cases.csv").write_text("image,mask\n")
    with pytest.raises(InputError, match="has no column label"):
        FolderDataset.open(tmp_path / "c")
    (tmp_path / "e").mkdir()
    with pytest.raises(InputError, match="none of the known layouts"):
        FolderDataset.open(tmp_path / "e")
    with pytest.raises(InputError, match="does not exist"):
        FolderDataset.open(tmp_path / "nowhere")
    for layout in LAYOUTS:
        with pytest.raises(InputError, match=r"cannot be used|problems"):
            FolderDataset.open(tmp_path / "e", layout=layout.name)
    with pytest.raises(InputError, match="did you mean 'decathlon'"):
        FolderDataset.open(tmp_path / "e", layout="decatlon")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"modality": {"0": "T1", "2": "T2"}}, "numbered from 0 on"),
        ({"modality": {}}, "needs channels as number: name"),
        ({"labels": {"background": 0}}, "labels as integer: name"),
        ({"training": "none"}, "a list of objects"),
        (
            {"training": [3, {"image": ["a", 2], "label": "c"}, {"image": "a"}]},
            "3 problems.*has no image.*has no label",
        ),
    ],
)
def test_wrong_descriptions(tmp_path, entries, message) -> None:
    WRITERS["decathlon"](tmp_path)
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    with pytest.raises(InputError, match=message):
        FolderDataset.open(tmp_path, layout="decathlon")


def test_label_maps_merge_by_name_or_number_and_refuse_strangers(tmp_path) -> None:
    WRITERS["nnunet"](tmp_path)
    label = arrays("case_a")[1]

    def mapped(*classes: ClassCard) -> np.ndarray:
        return FolderDataset.open(tmp_path, classes=classes).load("case_a").known_label()

    both = ClassCard(name="both", labels=("organ", 2))
    assert np.array_equal(mapped(both), label > 0)
    tumour, organ = ClassCard(name="t", labels=("tumour",)), ClassCard(name="o", labels=(1,))
    assert np.array_equal(mapped(tumour, organ), np.choose(label, [0, 2, 1]))
    assert np.array_equal(mapped(tumour), label == 2)
    with pytest.raises(InputError, match="did you mean 'tumour'"):
        mapped(ClassCard(name="x", labels=("tumor",)))
    with pytest.raises(InputError, match="holds label 7"):
        mapped(ClassCard(name="x", labels=(7,)))
    with pytest.raises(InputError, match="both hold label 'tumour'"):
        mapped(both, tumour)


def test_the_ignore_label_of_nnunet(tmp_path) -> None:
    WRITERS["nnunet"](tmp_path)
    path = tmp_path / "dataset.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"labels": {"background": 0, "organ": 1, "ignore": 2}}))
    label = FolderDataset.open(tmp_path).load("case_a").known_label()
    assert np.array_equal(label, np.choose(arrays("case_a")[1], [0, 1, 255]))


def test_255_counts_nowhere_only_where_the_folder_says_so(tmp_path) -> None:
    image, label = arrays("case_a")
    mask = np.where(label > 0, 255, 0).astype(np.uint8)
    save(image, tmp_path / "images" / "case_a.nii.gz")
    save(mask, tmp_path / "labels" / "case_a.nii.gz")
    with pytest.raises(InputError, match=r"case case_a: label holds 255, .* 'ignore'; .* labels = \[255\]"):
        FolderDataset.open(tmp_path).load("case_a")
    organ = ClassCard(name="organ", labels=(255,))
    assert np.array_equal(FolderDataset.open(tmp_path, classes=[organ]).load("case_a").known_label(), label > 0)
    # A name alone does not make it the code of ignored voxels.
    card = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 255}}
    save(image, tmp_path / "imagesTr" / "case_a_0000.nii.gz")
    save(mask, tmp_path / "labelsTr" / "case_a.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="case case_a: label holds 255"):
        FolderDataset.open(tmp_path).load("case_a")
    (tmp_path / "dataset.json").write_text(json.dumps(card | {"labels": {"background": 0, "ignore": 255}}))
    assert np.array_equal(FolderDataset.open(tmp_path).load("case_a").known_label(), mask)


def test_background_and_ignored_values_make_no_class(tmp_path) -> None:
    WRITERS["nnunet"](tmp_path)
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"labels": {"background": 0, "organ": 1, "ignore": 2}}))
    for label, message in (("background", "is 0"), (0, "is 0"), ("ignore", "calls 'ignore'"), (2, "calls 'ignore'")):
        with pytest.raises(InputError, match=message):
            FolderDataset.open(tmp_path, classes=[ClassCard(name="x", labels=(label,))])


def test_percent_of_range_does_not_depend_on_the_scanners_scale() -> None:
    image = np.random.default_rng(0).gamma(2, 50, (20, 20, 20)).astype(np.float32)

    def percent(values: np.ndarray) -> np.ndarray:
        return rescale_to_percent(Volume(values, None, np.eye(4), (1, 1, 1), "x")).image

    ordered = np.sort(image, axis=None)
    low, high = (ordered[round(share * 7999)] for share in (0.005, 0.995))
    assert np.allclose(percent(image), (image - low) / (high - low) * 100, atol=0.5)
    assert np.allclose(percent(image * 900 - 30), percent(image), atol=1e-3)
    with pytest.raises(InputError, match="has no range"):
        percent(np.zeros((4, 4, 4), np.float32))


@pytest.mark.skipif("ROBUST3D_DATA" not in os.environ, reason="ROBUST3D_DATA is not set")
@pytest.mark.parametrize(
    ("folder", "layout", "count"),
    [("Task04_Hippocampus", "decathlon", 220), ("Dataset501_HeadNeckOrgans", "nnunet", 125)],
)
def test_real_sets(folder, layout, count) -> None:
    root = Path(os.environ["ROBUST3D_DATA"]) / folder
    assert find_layout(root).name == layout
    dataset = FolderDataset.open(root)
    assert len(dataset.names) == count
    name = dataset.names[-1]
    assert dataset.only([name]).load(name).known_label().any()


@pytest.mark.parametrize("name", [layout.name for layout in LAYOUTS])
def test_the_example_of_the_docs_is_read(name, tmp_path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    section = text.split(f"### {name}\n")[1].split("\n#")[0]
    (files, *content) = re.findall(r"```\w+\n(.*?)```", section, flags=re.DOTALL)
    image, label = arrays("case_a")
    for file in files.split():
        if ".nii" in file:
            truth = file.startswith(("label", "seg")) or "organ" in file
            save(np.minimum(label, 1) if truth else image, tmp_path / file)
        else:
            (tmp_path / file).write_text(content[0])
    assert find_layout(tmp_path).name == name
    dataset = FolderDataset.open(tmp_path)
    (case,) = dataset.names
    volume = dataset.load(case)
    assert volume.shape == (6, 5, 4)
    assert volume.known_label().sum() == np.count_nonzero(label)


def test_the_docs_list_every_layout() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip(" `") for line in text.splitlines() if line.startswith("| `")]
    assert rows[: len(LAYOUTS)] == [layout.name for layout in LAYOUTS]
    assert {layout.name for layout in LAYOUTS} == {*WRITERS, "nih"}


def test_regions_of_an_nnunet_folder_are_their_labels(tmp_path) -> None:
    WRITERS["nnunet"](tmp_path)
    path = tmp_path / "dataset.json"
    content = json.loads(path.read_text())
    content |= {"labels": {"background": 0, "whole": [1, 2], "tumour": [2]}, "regions_class_order": [1, 2]}
    path.write_text(json.dumps(content))
    dataset = FolderDataset.open(tmp_path, classes=[ClassCard(name="lesion", labels=("tumour",))])
    assert np.array_equal(dataset.load("case_a").known_label(), arrays("case_a")[1] == 2)
    assert np.array_equal(FolderDataset.open(tmp_path).load("case_a").known_label(), arrays("case_a")[1])


def two_channels(name: str, root: Path) -> None:
    """Write case_a and case_b with the second channel twice the first, as a layout holds several."""
    for case in ("case_a", "case_b"):
        image, label = arrays(case)
        if name == "nnunet":
            save(image, root / "imagesTr" / f"{case}_0000.nii.gz")
            save(2 * image, root / "imagesTr" / f"{case}_0001.nii.gz")
            save(label, root / "labelsTr" / f"{case}.nii.gz")
        else:
            save(np.stack([image, 2 * image], axis=-1), root / "images" / f"{case}.nii.gz")
            save(label, root / "labels" / f"{case}.nii.gz")
    pairs = [{"image": f"images/{case}.nii.gz", "label": f"labels/{case}.nii.gz"} for case in ("case_a", "case_b")]
    channels = {"0": "T1", "1": "T2"}
    if name == "nnunet":
        labels = {"background": 0, "organ": 1, "tumour": 2}
        (root / "dataset.json").write_text(json.dumps({"channel_names": channels, "labels": labels}))
    elif name == "decathlon":
        labels = {"0": "background", "1": "organ", "2": "tumour"}
        (root / "dataset.json").write_text(json.dumps({"modality": channels, "labels": labels, "training": pairs}))
    elif name == "datalist":
        image, _ = arrays("case_b")
        save(image, root / "images" / "b_t1.nii.gz")
        save(2 * image, root / "images" / "b_t2.nii.gz")
        pairs[1] |= {"image": ["images/b_t1.nii.gz", "images/b_t2.nii.gz"], "case": "case_b"}
        (root / "list.json").write_text(json.dumps({"training": pairs}))
    elif name == "csv":
        lines = ["image,label", *(f"{pair['image']},{pair['label']}" for pair in pairs)]
        (root / "cases.csv").write_text("\n".join(lines) + "\n")


@layouts
def test_two_channels_are_read_and_checked(name, tmp_path) -> None:
    two_channels(name, tmp_path)
    dataset = FolderDataset.open(tmp_path, layout=name).only(["case_a", "case_b"])
    assert dataset.channels == 2
    for case in dataset.names:
        image, label = arrays(case)
        volume = dataset.load(case)
        assert np.array_equal(volume.image, np.stack([image, 2 * image]))
        assert np.array_equal(volume.known_label(), label)
        assert len(volume.files) == (2 if name == "nnunet" or (name == "datalist" and case == "case_b") else 0)
    percent = rescale_to_percent(volume)
    assert np.allclose(percent.image[0], percent.image[1], atol=1e-3)
    entry = dataset.entries["case_a"]
    if name == "nnunet":
        entry.others[0].unlink()
        with pytest.raises(InputError, match=r"case case_a has no .*case_a_0001.nii.gz"):
            FolderDataset.open(tmp_path)
        return
    save(arrays("case_a")[0], entry.image)
    wanted = (
        "has 1 channels and the folder says 2" if name == "decathlon" else "case_b has 2 channels and case case_a has 1"
    )
    with pytest.raises(InputError, match=wanted):
        FolderDataset.open(tmp_path, layout=name).only(["case_a", "case_b"])
