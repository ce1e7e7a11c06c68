# SPDX-License-Identifier: Apache-2.0
"""Headers changed byte by byte, and labels at the edges of what a class may be."""

import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from robust3d.foundation.errors import InputError
from robust3d.volume.geometry import GeometryWarning
from robust3d.volume.nifti import read_volume

# Byte offsets of NIfTI-1 fields, from nifti1.h.
DIM, DATATYPE, PIXDIM, VOX_OFFSET, SCL_SLOPE, SROW_X = 40, 70, 76, 108, 112, 280


def write(path, array):
    nib.Nifti1Image(array, np.diag([3.0, 3, 4, 1]), dtype=array.dtype).to_filename(path)
    return path


@pytest.fixture
def image(tmp_path):
    return write(tmp_path / "ct.nii", np.arange(120, dtype=np.int16).reshape(4, 5, 6))


def patch(path, offset, layout, *values):
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, offset, *values)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("offset", "layout", "values"),
    [
        (DIM, "<h", [9]),
        (DIM + 2, "<h", [-5]),
        (DIM + 2, "<h", [0]),
        (DATATYPE, "<h", [0]),
        (DATATYPE, "<h", [1]),
        (DATATYPE, "<h", [77]),
        (PIXDIM + 4, "<f", [np.nan]),
        (PIXDIM + 4, "<f", [np.inf]),
        (VOX_OFFSET, "<f", [-5]),
        (VOX_OFFSET, "<f", [1e9]),
        (VOX_OFFSET, "<f", [np.nan]),
        (VOX_OFFSET, "<f", [np.inf]),
        (SCL_SLOPE, "<ff", [1, np.nan]),
        (SROW_X, "<f", [np.nan]),
        (SROW_X, "<ffff", [0, 0, 0, 0]),
    ],
)
def test_a_damaged_header_is_one_sentence_and_nothing_else(image, capfd, offset, layout, values) -> None:
    patch(image, offset, layout, *values)
    with pytest.raises(InputError) as caught:
        read_volume(image)
    assert str(image) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_header_that_is_mended_is_a_warning(image) -> None:
    patch(image, PIXDIM + 4, "<f", 0)
    with pytest.warns(GeometryWarning, match=r"ct\.nii: pixdim.* should be non-zero"):
        assert read_volume(image).spacing == (1, 3, 4)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
def test_memory_is_bounded_by_the_file_and_not_by_its_header(tmp_path, image, suffix) -> None:
    patch(image, DIM + 2, "<hhh", 2000, 1000, 250)
    path = tmp_path / f"huge{suffix}"
    with nib.openers.Opener(path, "wb") as stream:
        stream.write(image.read_bytes())
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="truncated"):
            read_volume(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e6


def test_a_well_compressed_volume_is_no_damage(tmp_path) -> None:
    path = write(tmp_path / "zeros.NII.GZ", np.zeros((128, 128, 64), np.int16))
    assert path.stat().st_size < 2 * 128 * 128 * 64 / 200
    assert not read_volume(path).image.any()


@pytest.mark.parametrize("name", ["ct.mgz", "ct.hdr", "ct.txt"])
def test_another_format_is_refused_by_its_name(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(b"0" * 400)
    with pytest.raises(InputError, match=r"ends in neither \.nii nor \.nii\.gz"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_files_keep_their_type(tmp_path, dtype) -> None:
    values = np.random.default_rng(0).normal(0, 100, (3, 4, 5)).astype(np.float32)
    read_volume(write(tmp_path / "in.nii", values.astype(dtype))).save(tmp_path / "out.nii")
    saved = nib.load(tmp_path / "out.nii")
    assert saved.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asanyarray(saved.dataobj), values)


@pytest.mark.parametrize(
    ("value", "classes", "message"),
    [
        # One more than float64 can tell from its neighbour: a label that went through float would show ...992.
        (np.int64(2**53 + 1), None, "class 9007199254740993; expected 0 to 255"),
        (np.int16(256), None, "class 256"),
        (np.int16(300), [0, 300], "class 300"),
        (np.int16(-1), [-1, 0], "class -1"),
        (np.float32(np.inf), None, "holds inf"),
        (np.float64(1.0000001), None, "whole numbers"),
    ],
)
def test_labels_beyond_an_unsigned_byte_are_refused(image, tmp_path, value, classes, message) -> None:
    label = np.zeros((4, 5, 6), value.dtype)
    label[1, 2, 3] = value
    with pytest.raises(InputError, match=message):
        read_volume(image, write(tmp_path / "seg.nii", label), classes=classes)
