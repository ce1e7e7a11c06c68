# SPDX-License-Identifier: Apache-2.0
"""Volumes of several channels: one file or one a channel, in and out, against nibabel."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from robust3d.foundation.errors import InputError
from robust3d.volume.channels import as_image, by_channel, count_channels, crop, spatial_shape, spread
from robust3d.volume.nifti import read_channels, read_grid, read_volume
from tests.volume.test_nifti import OBLIQUE, PLI, write


def stored(dtype=np.int16, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 200, (4, 5, 6, channels)).astype(dtype)


def test_channels_come_last_in_the_file_and_first_in_memory(tmp_path) -> None:
    array = stored(channels=3)
    label = write(tmp_path / "seg.nii.gz", (array[..., 0] > 100).astype(np.uint8))
    volume = read_volume(write(tmp_path / "in.nii.gz", array, slope=0.5, inter=-7), label)
    assert (volume.shape, volume.channels, volume.image.dtype) == ((4, 5, 6), 3, np.float32)
    for number in range(3):
        np.testing.assert_array_equal(volume.image[number], array[..., number] * np.float32(0.5) - 7)
    np.testing.assert_array_equal(volume.known_label(), array[..., 0] > 100)
    assert read_channels(tmp_path / "in.nii.gz")[0] == 3
    with pytest.raises(InputError, match="three axes"):
        read_grid(tmp_path / "in.nii.gz")
    with pytest.raises(InputError, match="three axes"):
        read_volume(label, tmp_path / "in.nii.gz")


@pytest.mark.parametrize(("affine", "codes"), [(OBLIQUE, (1, 1)), (PLI, (0, 3))])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_one_file_comes_back_as_it_was(tmp_path, affine, codes, dtype) -> None:
    array = stored(dtype)
    volume = read_volume(write(tmp_path / "in.nii.gz", array, affine, 0.5, -1024, codes))
    assert volume.save(tmp_path / "out.nii.gz") == (tmp_path / "out.nii.gz",)
    before, after = nib.load(tmp_path / "in.nii.gz"), nib.load(tmp_path / "out.nii.gz")
    assert after.shape == (4, 5, 6, 2)
    np.testing.assert_array_equal(after.get_fdata(), before.get_fdata())
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-5)
    np.testing.assert_allclose(after.header.get_zooms(), before.header.get_zooms(), rtol=1e-6)
    assert (after.header["qform_code"], after.header["sform_code"]) == codes
    assert after.get_data_dtype() == dtype


def test_one_file_a_channel_keeps_each_type_and_slope(tmp_path) -> None:
    array = stored(channels=3)
    kinds = ((np.int16, 1.0, 0.0), (np.uint8, 0.25, 3.0), (np.float32, 1.0, 0.0))
    paths = [
        write(tmp_path / f"case_{number:04d}.nii.gz", array[..., number].astype(dtype), PLI, slope, inter)
        for number, (dtype, slope, inter) in enumerate(kinds)
    ]
    volume = read_volume(paths)
    assert (volume.channels, volume.name) == (3, "case")
    written = volume.save(tmp_path / "out.nii.gz")
    assert [path.name for path in written] == ["out_0000.nii.gz", "out_0001.nii.gz", "out_0002.nii.gz"]
    for path, source, (dtype, _, _) in zip(written, paths, kinds, strict=True):
        before, after = nib.load(source), nib.load(path)
        assert after.get_data_dtype() == dtype
        np.testing.assert_array_equal(np.asanyarray(after.dataobj), np.asanyarray(before.dataobj))
        np.testing.assert_allclose(after.affine, PLI, atol=1e-5)
    assert np.array_equal(read_volume(written).image, volume.image)
    assert (volume.save(tmp_path / "plain.nii")[2]).name == "plain_0002.nii"


def test_each_channel_is_rounded_toward_its_clean_value_in_steps_of_its_own_file(tmp_path) -> None:
    array = stored()
    steps = (1.0, 0.5)
    paths = [
        write(tmp_path / f"c_{n:04d}.nii.gz", array[..., n], slope=slope, inter=0) for n, slope in enumerate(steps)
    ]
    clean = read_volume(paths)
    signs = np.where(np.random.default_rng(0).random(clean.image.shape) < 0.5, -1, 1)
    moved = replace(clean.with_image(clean.image + 10.7 * signs), reference=clean.image)
    change = read_volume(moved.save(tmp_path / "a.nii.gz")).image - clean.image
    np.testing.assert_array_equal(change[0], 10 * signs[0])
    np.testing.assert_array_equal(change[1], 10.5 * signs[1])


def test_channels_on_other_grids_are_refused_with_both_values_and_files(tmp_path) -> None:
    array = stored()
    first = write(tmp_path / "a.nii.gz", array[..., 0])
    short = write(tmp_path / "b.nii.gz", array[:3, ..., 1])
    with pytest.raises(InputError, match=r"shape \(4, 5, 6\) of image .*a.nii.gz .* \(3, 5, 6\) of channel .*b.nii.gz"):
        read_volume([first, short])
    wide = write(tmp_path / "c.nii.gz", array[..., 1], np.diag([1, 2, 3, 1]))
    with pytest.raises(InputError, match=r"of channel .*c.nii.gz; resample"):
        read_volume([first, wide])
    with pytest.raises(InputError, match="three axes"):
        read_volume([first, write(tmp_path / "d.nii.gz", array)])
    with pytest.raises(InputError, match="needs an image"):
        read_volume([])


def test_one_channel_is_what_it_was(tmp_path) -> None:
    array = stored()[..., 0]
    path = write(tmp_path / "one.nii.gz", array)
    plain, listed = read_volume(path), read_volume([path])
    fourth = read_volume(write(tmp_path / "four.nii.gz", array[..., None]))
    for volume in (plain, listed, fourth):
        assert (volume.image.shape, volume.channels, volume.files) == ((4, 5, 6), 1, ())
        assert volume.sha256 == plain.sha256
    assert volume.save(tmp_path / "out.nii.gz") == (tmp_path / "out.nii.gz",)
    # The identity of a one-channel volume, as results that people have stored hold it.
    fixed = replace(plain, image=np.arange(24, dtype=np.float32).reshape(2, 3, 4), label=None, affine=np.eye(4))
    assert fixed.sha256 == "c388e15a98bda0f50f792a13611267fa2c47514cd046f24a9e34786e68b8240b"


def test_views_of_channels() -> None:
    one, two = torch.arange(24.0).view(2, 3, 4), torch.arange(48.0).view(2, 2, 3, 4)
    assert spatial_shape(one) == spatial_shape(two) == (2, 3, 4)
    assert (count_channels(one), count_channels(two)) == (1, 2)
    assert as_image(by_channel(one)).shape == one.shape
    assert as_image(by_channel(two)).shape == two.shape
    place = (slice(1, 2), slice(0, 2), slice(2, 4))
    assert torch.equal(crop(two, place), two[:, 1:2, 0:2, 2:4])
    assert torch.equal(crop(one, place), one[1:2, 0:2, 2:4])
    assert torch.equal((two * spread((1.0, 0.0), two))[1], torch.zeros(2, 3, 4))
    with pytest.raises(InputError, match=r"2 values .* has 1 channels"):
        spread((1.0, 2.0), one)
    for shape in ((2, 3), (1, 2, 3, 4), (1, 2, 2, 3, 4)):
        with pytest.raises(InputError, match="three axes"):
            spatial_shape(torch.zeros(shape))
