# SPDX-License-Identifier: Apache-2.0
"""NIH Pancreas-CT in the layout of its archive: equal voxel by voxel and in physical positions."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("SimpleITK")
pytest.importorskip("pydicom")

from robust3d.data.folder import FolderDataset
from robust3d.data.layouts.registry import find_layout
from robust3d.data.phantoms import PhantomDataset
from robust3d.foundation.errors import InputError
from tests.data.nih import ARCHIVE, ORIGIN, SPACING, write_case

SHAPE = (12, 10, 6)


@pytest.fixture
def case(tmp_path) -> tuple[Path, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    image = random.integers(-1000, 1000, SHAPE).astype(np.int16)
    label = (random.random(SHAPE) < 0.2).astype(np.uint8)
    write_case(tmp_path, 7, image, label)
    return tmp_path, image, label


def test_a_series_and_its_label_are_read(case) -> None:
    root, image, label = case
    assert find_layout(root).name == "nih"
    volume = FolderDataset.open(root).only(["PANCREAS_0007"]).load("PANCREAS_0007")
    assert np.array_equal(volume.image, image)
    assert np.array_equal(volume.known_label(), label)
    assert np.allclose(volume.spacing, SPACING)
    assert volume.storage.dtype == "int16"
    # Position of a voxel by the equation of DICOM PS3.3 C.7.6.2.1.1, from LPS to RAS.
    index = np.array([3, 8, 5])
    left, back, up = np.array(ORIGIN) + index * np.array(SPACING)
    assert np.allclose((volume.affine @ [*index, 1])[:3], [-left, -back, up])


@pytest.mark.parametrize("archive", ["Pancreas-CT", "."])
def test_patients_in_flatter_trees_are_found(tmp_path, archive) -> None:
    image, label = np.zeros(SHAPE, np.int16), np.ones(SHAPE, np.uint8)
    for number in (1, 2):
        write_case(tmp_path, number, image, label, archive=archive)
    assert FolderDataset.open(tmp_path).names == ["PANCREAS_0001", "PANCREAS_0002"]


def test_patients_are_looked_for_neither_deeper_nor_inside_of_patients(tmp_path) -> None:
    image, label = np.zeros(SHAPE, np.int16), np.ones(SHAPE, np.uint8)
    write_case(tmp_path, 7, image, label, archive="a/b")
    write_case(tmp_path, 8, image, label, archive=".")
    nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / "PANCREAS_0008" / "PANCREAS_0009.nii.gz")
    assert FolderDataset.open(tmp_path).names == ["PANCREAS_0007", "PANCREAS_0008"]
    shutil.rmtree(tmp_path / "PANCREAS_0008")
    (tmp_path / "a" / "b").rename(tmp_path / "c")
    (tmp_path / "a" / "b").mkdir()
    (tmp_path / "c").rename(tmp_path / "a" / "b" / "c")
    with pytest.raises(InputError, match="none of the known layouts"):
        find_layout(tmp_path)


def test_an_adversarial_series_is_saved_in_place(case, tmp_path) -> None:
    import SimpleITK

    root, image, _ = case
    volume = FolderDataset.open(root).load("PANCREAS_0007")
    volume.save(tmp_path / "saved.nii.gz")
    saved = SimpleITK.ReadImage(str(tmp_path / "saved.nii.gz"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(saved).transpose(2, 1, 0), image)
    # SimpleITK tells positions in LPS, as DICOM does.
    expected = np.array(ORIGIN) + np.array([3, 8, 5]) * np.array(SPACING)
    assert np.allclose(saved.TransformIndexToPhysicalPoint((3, 8, 5)), expected, atol=1e-4)


def test_a_converted_image_turns_the_label_with_it(case) -> None:
    root, image, label = case
    shutil.rmtree(root / ARCHIVE)
    # As dcm2niix converts: rows the other way round, so that the second axis points to the front.
    affine = np.diag([-SPACING[0], SPACING[1], SPACING[2], 1.0])
    nib.save(nib.Nifti1Image(image[:, ::-1].copy(), affine), root / "PANCREAS_0007.nii.gz")
    volume = FolderDataset.open(root).load("PANCREAS_0007")
    assert np.array_equal(volume.image[:, ::-1], image)
    assert np.array_equal(volume.known_label()[:, ::-1], label)


def test_what_is_wrong_is_told_at_once(case) -> None:
    root, image, label = case
    write_case(root, 8, image, label[..., :4])
    with pytest.raises(InputError, match=r"shape \(12, 10, 6\) and label .*label0008.* \(12, 10, 4\)"):
        FolderDataset.open(root).only(["PANCREAS_0008"])
    (root / ARCHIVE / "PANCREAS_0008" / "study" / "series" / "1-003.dcm").unlink()
    with pytest.raises(InputError, match="one is missing or there twice"):
        FolderDataset.open(root).load("PANCREAS_0008")
    (root / "TCIA_pancreas_labels-02-05-2017" / "label0007.nii.gz").rename(root / "label0009.nii.gz")
    shutil.rmtree(root / ARCHIVE / "PANCREAS_0008")
    with pytest.raises(InputError, match=r"3 problems: .*no label label0007.*label0008.*label0009.* has no image"):
        FolderDataset.open(root)


def test_a_folder_without_labels_is_another_layouts(case) -> None:
    root, _, _ = case
    (root / "cases.csv").write_text("image,label\n")
    assert find_layout(root).name == "nih"
    shutil.rmtree(root / "TCIA_pancreas_labels-02-05-2017")
    assert find_layout(root).name == "csv"


def test_two_labels_of_a_patient_are_a_problem(case) -> None:
    root, _, label = case
    nib.save(nib.Nifti1Image(label, np.eye(4)), root / "label0007.nii.gz")
    with pytest.raises(InputError, match=r"PANCREAS_0007 has 2 labels, .*; keep one"):
        FolderDataset.open(root)


def test_an_image_whose_axes_are_in_another_order_has_its_label(case) -> None:
    root, image, label = case
    shutil.rmtree(root / ARCHIVE)
    # Slices, columns, rows; the affine says so.
    affine = np.eye(4)[:, [2, 0, 1, 3]] @ np.diag([1.5, 0.8, 0.7, 1.0])
    affine[:2] *= -1
    nib.save(nib.Nifti1Image(image.transpose(2, 0, 1).copy(), affine), root / "PANCREAS_0007.nii.gz")
    volume = FolderDataset.open(root).only(["PANCREAS_0007"]).load("PANCREAS_0007")
    assert np.array_equal(volume.known_label(), label.transpose(2, 0, 1))


def _no_position(slice_) -> None:
    del slice_.ImagePositionPatient


def _same_position(slice_) -> None:
    slice_.ImagePositionPatient = list(ORIGIN)


def _in_colour(slice_) -> None:
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation, slice_.PlanarConfiguration = 3, "RGB", 0
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 8, 8, 7, 0
    slice_.PixelData = bytes(3 * slice_.Rows * slice_.Columns)


@pytest.mark.parametrize(
    ("change", "message"),
    [(_no_position, "tells no position"), (_same_position, "there twice"), (_in_colour, "3 values a voxel")],
)
def test_a_series_that_is_no_volume_is_refused(case, change, message) -> None:
    from pydicom import dcmread

    root, _, _ = case
    for path in root.rglob("*.dcm"):
        slice_ = dcmread(path)
        change(slice_)
        slice_.save_as(path)
    with pytest.raises(InputError, match=message):
        FolderDataset.open(root).load("PANCREAS_0007")


@pytest.mark.slow
def test_a_phantom_of_full_slices_trains_and_runs(tmp_path) -> None:
    from robust3d.cli.run import run
    from robust3d.cli.train import train
    from tests.data.cards import write_cards

    dataset = PhantomDataset("train", 4, (64, 64, 16), (5.6, 5.6, 9.0))
    for number, name in enumerate(dataset.names, start=1):
        phantom = dataset.load(name)
        # Slices of 512 x 512 in the time that those of 64 x 64 take.
        image, label = (np.kron(one, np.ones((8, 8, 1))).astype(np.int16) for one in (phantom.image, phantom.label))
        assert label.any()
        write_case(tmp_path / "nih", number, image, label)
        stored = FolderDataset.open(tmp_path / "nih").load(f"PANCREAS_{number:04d}")
        assert np.array_equal(stored.image, image)
        assert np.array_equal(stored.known_label(), label)
    write_cards(tmp_path / "own", window=16)
    own, out = (tmp_path / "own",), tmp_path / "out"
    train("tiny-cv", data=tmp_path / "nih", fold="all/2", out=out, device="cpu", collection=own)
    run("tiny-cv", data=tmp_path / "nih", out=tmp_path / "run", device="cpu", collection=(*own, out))
    assert "| 4 |" in (tmp_path / "run" / "leaderboard.md").read_text()
