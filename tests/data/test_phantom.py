# SPDX-License-Identifier: Apache-2.0
"""The phantom: same seed, same voxels; a plausible pancreas; clear refusals."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy import ndimage

from robust3d.data.phantom import Phantom, generate_phantom
from robust3d.data.phantom.specks import drop_specks
from robust3d.foundation.errors import InputError

GOLDEN = "3cb19aa70243117d295da09d96945d805dd89872c9b945980331871d60160a51"


def digest(case: Phantom) -> str:
    """Hash image and label in a fixed byte order."""
    return hashlib.sha256(case.image.astype("<i2").tobytes() + case.label.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def cases() -> dict[int, Phantom]:
    """Four cases at the default sampling."""
    return {seed: generate_phantom(seed) for seed in (0, 1, 2, 3)}


def small(seed: int) -> Phantom:
    """Generate a case on a coarse grid."""
    return generate_phantom(seed, shape=(40, 36, 32), spacing=(8.0, 7.5, 8.0))


def millilitres(case: Phantom) -> float:
    """Give the volume of label 1."""
    return float((case.label == 1).sum() * np.prod(case.spacing) / 1000)


def test_golden_voxels() -> None:
    """One small case is known to the last voxel."""
    assert digest(small(7)) == GOLDEN


def test_seed_decides_the_voxels() -> None:
    """The same seed repeats; another seed differs in image and label."""
    first, again, other = (small(seed) for seed in (1, 1, 2))
    assert digest(first) == digest(again)
    assert (first.image != other.image).mean() > 0.5
    assert (first.label != other.label).any()


def test_types_and_geometry(cases: dict[int, Phantom]) -> None:
    """Types, shape and an affine whose centre is 0."""
    case = cases[0]
    assert (case.image.dtype, case.label.dtype, case.affine.dtype) == (np.int16, np.uint8, np.float64)
    assert case.image.shape == case.label.shape == (112, 96, 80)
    centre = (np.array(case.image.shape) - 1) / 2
    np.testing.assert_allclose(case.affine @ [*centre, 1], [0, 0, 0, 1])
    np.testing.assert_array_equal(np.diag(case.affine), [3, 3, 4, 1])
    assert case.image.min() >= -1024
    assert case.image.max() <= 1500
    assert abs(float(case.image[:3, :3].mean()) + 1000) < 20


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_pancreas_is_plausible(cases: dict[int, Phantom], seed: int) -> None:
    """Volume, mean HU and connectedness."""
    case = cases[seed]
    gland = case.label == 1
    assert 50 < millilitres(case) < 120
    assert 65 < case.image[gland].mean() < 110
    assert ndimage.label(gland)[1] == 1
    assert not gland[[0, -1]].any()


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_contrast_is_low(cases: dict[int, Phantom], seed: int) -> None:
    """Part of the shell around the gland is fat, part looks like the gland."""
    case = cases[seed]
    gland = case.label == 1
    shell = ndimage.binary_dilation(gland, iterations=2) & ~gland
    difference = case.image[gland].mean() - case.image[shell].mean()
    assert 5 < difference < 60
    similar = np.abs(case.image[shell] - case.image[gland].mean()) < 40
    assert similar.mean() > 0.1


def test_spacing_keeps_the_anatomy(cases: dict[int, Phantom]) -> None:
    """The same patient at another sampling has the same pancreas at the same place."""
    other = generate_phantom(1, shape=(84, 72, 64), spacing=(4.0, 4.0, 5.0))
    assert millilitres(other) == pytest.approx(millilitres(cases[1]), rel=0.1)
    places = [
        case.affine[:3, :3] @ ndimage.center_of_mass(case.label == 1) + case.affine[:3, 3] for case in (other, cases[1])
    ]
    np.testing.assert_allclose(places[0], places[1], atol=2.0)


def test_crop_shows_the_same_anatomy(cases: dict[int, Phantom]) -> None:
    """A smaller field of view is the middle of the larger one; the label agrees exactly."""
    small = generate_phantom(1, shape=(56, 48, 40))
    np.testing.assert_array_equal(small.label, cases[1].label[28:84, 24:72, 20:60])


def test_specks_go_and_border_parts_stay() -> None:
    """A lone voxel inside goes; a body, and a lone voxel at the border, stay."""
    mask = np.zeros((16, 16, 16), dtype=bool)
    mask[4:8, 4:8, 4:8] = mask[0, 0, 0] = mask[12, 12, 12] = True
    expected = mask.copy()
    expected[12, 12, 12] = False
    np.testing.assert_array_equal(drop_specks(mask, (3.0, 3.0, 4.0)), expected)


def test_tiny_field_of_view() -> None:
    """The smallest grid, all within the trunk, still works."""
    assert generate_phantom(3, shape=(16, 16, 16), spacing=(1.0, 1.0, 1.0)).image.shape == (16, 16, 16)


@pytest.mark.parametrize("seed", [0, 1])
def test_cyst(cases: dict[int, Phantom], seed: int) -> None:
    """The pathological variant adds a dark label 2 and changes no other anatomy."""
    case = generate_phantom(seed, cyst=True)
    cyst = case.label == 2
    assert cyst.sum() > 30
    assert -15 < case.image[ndimage.binary_erosion(cyst)].mean() < 40
    assert ndimage.binary_dilation(cyst)[case.label == 1].any()
    np.testing.assert_array_equal(case.label[~cyst], cases[seed].label[~cyst])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"shape": (15, 96, 80)}, "15"),
        ({"shape": (96, 80)}, "shape"),
        ({"shape": (96.5, 80, 80)}, "96.5"),
        ({"shape": 96}, "96"),
        ({"spacing": (3.0, 0.0, 4.0)}, "0.0"),
        ({"spacing": (3.0, float("nan"), 4.0)}, "nan"),
        ({"seed": -1}, "-1"),
    ],
)
def test_bad_input(arguments: dict[str, object], named: str) -> None:
    """Bad input is refused with the value in the message."""
    with pytest.raises(InputError, match=named):
        generate_phantom(**{"seed": 0, **arguments})  # type: ignore[arg-type]
