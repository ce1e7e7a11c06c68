# SPDX-License-Identifier: Apache-2.0
"""NIfTI round trips and every file that must be refused."""

import gzip
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from robust3d.foundation.errors import InputError
from robust3d.volume.geometry import GeometryWarning
from robust3d.volume.nifti import read_volume, save_image, save_label

OBLIQUE = np.array([[2.9, 0.3, 0, -10], [-0.3, 2.9, 0.1, 5], [0, -0.1, 4, 7], [0, 0, 0, 1.0]])
PLI = np.array([[0, -2.5, 0, 40], [-3.9, 0, 0, 60], [0, 0, -3.0, 90], [0, 0, 0, 1.0]])


def write(path, array, affine=OBLIQUE, slope=1.0, inter=0.0, codes=(1, 1)):
    file = nib.Nifti1Image(array, affine, dtype=array.dtype)
    file.header.set_qform(affine, code=codes[0])
    file.header.set_sform(affine, code=codes[1])
    file.header.set_slope_inter(slope, inter)
    file.to_filename(path)
    return path


@pytest.fixture
def pair(tmp_path):
    random = np.random.default_rng(0)
    image = write(tmp_path / "ct.nii.gz", random.integers(-1000, 1000, (5, 6, 7)).astype(np.int16))
    label = write(tmp_path / "seg.nii.gz", random.integers(0, 2, (5, 6, 7)).astype(np.uint8))
    return image, label


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize(("slope", "inter"), [(1, 0), (0.5, -1024)])
@pytest.mark.parametrize(("affine", "codes"), [(OBLIQUE, (1, 1)), (PLI, (1, 2)), (PLI, (0, 3))])
def test_image_round_trip(tmp_path, dtype, slope, inter, affine, codes) -> None:
    stored = np.random.default_rng(1).integers(0, 200, (4, 5, 6)).astype(dtype)
    volume = read_volume(write(tmp_path / "in.nii.gz", stored, affine, slope, inter, codes))
    np.testing.assert_array_equal(volume.image, stored.astype(np.float32) * slope + inter)
    assert volume.name == "in"
    volume.save(tmp_path / "out.nii.gz")
    before, after = nib.load(tmp_path / "in.nii.gz"), nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(after.dataobj), np.asanyarray(before.dataobj))
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-5)
    np.testing.assert_allclose(after.header.get_zooms(), before.header.get_zooms(), rtol=1e-6)
    assert nib.aff2axcodes(after.affine) == nib.aff2axcodes(before.affine)
    assert (after.header["qform_code"], after.header["sform_code"]) == codes
    if np.issubdtype(dtype, np.integer):
        assert after.get_data_dtype() == dtype
        np.testing.assert_array_equal(after.dataobj.get_unscaled(), stored)


def test_saving_rounds_toward_the_clean_value(tmp_path, pair) -> None:
    clean = read_volume(pair[0])
    moved = np.where(np.random.default_rng(0).random(clean.shape) < 0.5, -10.2, 10.2)
    replace(clean.with_image(clean.image + moved), reference=clean.image).save(tmp_path / "a.nii.gz")
    saved = nib.load(tmp_path / "a.nii.gz")
    assert saved.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asanyarray(saved.dataobj) - clean.image, np.trunc(moved))


def test_labels_and_masks(tmp_path, pair) -> None:
    volume = read_volume(*pair, classes=[0, 1])
    np.testing.assert_array_equal(volume.label, np.asanyarray(nib.load(pair[1]).dataobj))
    assert volume.label.dtype == np.uint8
    save_label(volume.label, volume, tmp_path / "mask.nii.gz")
    assert nib.load(tmp_path / "mask.nii.gz").get_data_dtype() == np.uint8
    floats = write(tmp_path / "float.nii.gz", volume.label.astype(np.float64))
    np.testing.assert_array_equal(read_volume(pair[0], floats).label, volume.label)


def test_values_that_do_not_fit_are_refused(tmp_path, pair) -> None:
    volume = read_volume(pair[0])
    with pytest.raises(InputError, match="do not fit into int16"):
        save_image(volume.with_image(volume.image + 40000), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"ends in \.nii"):
        save_image(volume, tmp_path / "a.mha")


def test_mismatch_of_shape_and_spacing_names_files_and_values(tmp_path, pair) -> None:
    short = write(tmp_path / "short.nii.gz", np.zeros((5, 6, 8), np.uint8))
    with pytest.raises(InputError) as caught:
        read_volume(pair[0], short)
    assert all(part in str(caught.value) for part in (str(pair[0]), str(short), "(5, 6, 7)", "(5, 6, 8)"))
    wide = write(tmp_path / "wide.nii.gz", np.zeros((5, 6, 7), np.uint8), np.diag([1.0, 2, 3, 1]))
    with pytest.raises(InputError) as caught:
        read_volume(pair[0], wide)
    assert all(part in str(caught.value) for part in (str(pair[0]), str(wide), "(1, 2, 3) mm", "2.91548"))


def test_another_affine_is_a_warning(tmp_path, pair) -> None:
    moved = OBLIQUE.copy()
    moved[0, 3] += 5
    label = write(tmp_path / "moved.nii.gz", np.zeros((5, 6, 7), np.uint8), moved)
    with pytest.warns(GeometryWarning, match="up to 5 mm"):
        read_volume(pair[0], label)


def bad_images(folder):
    zeros = np.zeros((4, 4, 4), np.float32)
    yield "nan", write(folder / "nan.nii.gz", np.where(zeros == 0, np.nan, 0).astype(np.float32))
    yield "inf", write(folder / "inf.nii.gz", zeros + np.float32(np.inf))
    yield "5D", write(folder / "5d.nii.gz", np.zeros((4, 4, 4, 2, 2), np.int16))
    yield "2D", write(folder / "2d.nii.gz", np.zeros((4, 4), np.int16))
    yield "complex", write(folder / "complex.nii.gz", zeros.astype(np.complex64))
    yield "rgb", write(folder / "rgb.nii.gz", np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    whole = write(folder / "whole.nii.gz", np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16))
    half = folder / "half.nii.gz"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    yield "cut gzip", half
    plain = gzip.decompress(whole.read_bytes())
    (folder / "cut.nii").write_bytes(plain[: len(plain) // 2])
    yield "cut", folder / "cut.nii"
    huge = bytearray(plain)
    huge[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    (folder / "huge.nii").write_bytes(bytes(huge))
    yield "claims 54 TB", folder / "huge.nii"
    (folder / "text.nii.gz").write_text("not a volume")
    yield "text", folder / "text.nii.gz"
    (folder / "empty.nii").touch()
    yield "empty", folder / "empty.nii"
    yield "missing", folder / "missing.nii.gz"


def test_bad_images_are_refused_in_one_line(tmp_path) -> None:
    for what, path in bad_images(tmp_path):
        with pytest.raises(InputError) as caught:
            read_volume(path)
        assert str(path) in str(caught.value), what
        assert "\n" not in str(caught.value), what


@pytest.mark.parametrize(
    ("values", "message"), [([0, 0.5], "whole numbers"), ([0, 3], "class 3; expected 0, 1"), ([0, -1], "class -1")]
)
def test_bad_labels_are_refused(tmp_path, pair, values, message) -> None:
    label = write(tmp_path / "bad.nii.gz", np.resize(np.array(values, np.float32), (5, 6, 7)))
    with pytest.raises(InputError, match=message):
        read_volume(pair[0], label, classes=[0, 1])


def test_a_label_of_nan_is_refused(tmp_path, pair) -> None:
    label = write(tmp_path / "nan.nii.gz", np.full((5, 6, 7), np.nan, np.float32))
    with pytest.raises(InputError, match="whole numbers"):
        read_volume(pair[0], label)


def test_identity_of_a_volume_is_its_content(pair) -> None:
    volume = read_volume(*pair)
    assert replace(volume, name="other").sha256 == volume.sha256
    assert volume.with_image(volume.image + 1).sha256 != volume.sha256
    assert replace(volume, label=1 - volume.label).sha256 != volume.sha256
    with pytest.raises(InputError, match="cannot replace"):
        volume.with_image(volume.image[1:])
    with pytest.raises(InputError, match="has no label"):
        replace(volume, label=None).known_label()


def test_a_time_axis_of_one_is_dropped(tmp_path, pair) -> None:
    plain = read_volume(*pair)
    image = write(tmp_path / "one.nii.gz", np.asanyarray(nib.load(pair[0]).dataobj)[..., None])
    label = write(tmp_path / "one_seg.nii.gz", np.asanyarray(nib.load(pair[1]).dataobj)[..., None])
    for paths in ((image, label), (image, pair[1]), (pair[0], label)):
        volume = read_volume(*paths)
        assert volume.shape == (5, 6, 7)
        assert volume.sha256 == plain.sha256
        assert volume.spacing == plain.spacing
    volume.save(tmp_path / "saved.nii.gz")
    assert nib.load(tmp_path / "saved.nii.gz").shape == (5, 6, 7)


@pytest.mark.parametrize("shape", [(4, 4, 4, 1, 1), (4, 4, 4, 1, 3), (4, 4)])
def test_other_numbers_of_axes_are_refused(tmp_path, shape) -> None:
    with pytest.raises(InputError, match="three axes"):
        read_volume(write(tmp_path / "a.nii.gz", np.zeros(shape, np.int16)))
