# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.data.utils import dense_patch_slices

from robust3d.foundation.errors import InputError
from robust3d.segment.grid import Grid, overlap, parse_grid, seed, step

GRIDS = st.one_of(st.integers(1, 12).map(seed), st.floats(0, 0.9).map(overlap), st.floats(0.1, 1).map(step))


def test_seed_follows_the_released_code() -> None:
    # volumetric.md: L = 512, w = 64, n = 6: fold 14, step 35, starts 0, 35, ..., 420, then 448; L = 240: 9 windows.
    assert seed(6).starts(512, 64) == [*range(0, 421, 35), 448]
    assert seed(6).starts(240, 64) == [*range(0, 155, 22), 176]
    assert len(seed(6).starts(512, 64)) == 14


@pytest.mark.parametrize(("length", "starts"), [(100, [0, 32, 36]), (110, [0, 32, 46]), (128, [0, 32, 64])])
def test_overlap_shifts_the_last_window_back(length: int, starts: list[int]) -> None:
    assert overlap(0.5).starts(length, 64) == starts


@pytest.mark.parametrize(("length", "starts"), [(100, [0, 18, 36]), (110, [0, 23, 46]), (128, [0, 32, 64])])
def test_step_spreads_evenly_as_nnunet(length: int, starts: list[int]) -> None:
    assert step(0.5).starts(length, 64) == starts


@given(length=st.integers(16, 90), fraction=st.sampled_from([0.0, 0.25, 0.5, 0.625, 0.75]))
def test_overlap_equals_monai(length: int, fraction: float) -> None:
    window = 16
    interval = int(window * (1 - fraction))
    theirs = [place[0].start for place in dense_patch_slices((length,), (window,), (interval,))]
    assert overlap(fraction).starts(length, window) == sorted(set(theirs))


@given(grid=GRIDS, window=st.integers(4, 32), extra=st.integers(0, 100))
def test_every_voxel_is_covered_and_every_window_inside(grid: Grid, window: int, extra: int) -> None:
    length = window + extra
    starts = grid.starts(length, window)
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] == length - window
    assert all(after - before <= window for before, after in itertools.pairwise(starts))


@pytest.mark.parametrize("grid", [seed(6), overlap(0.25), step(0.5)])
def test_a_grid_survives_its_notation(grid: Grid) -> None:
    assert parse_grid(str(grid)) == grid


@pytest.mark.parametrize("text", ["seed(0)", "seed(1.5)", "overlap(1)", "step(0)", "tile(2)", "seed", "overlap(0.1.2)"])
def test_a_wrong_grid_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_grid(text)
