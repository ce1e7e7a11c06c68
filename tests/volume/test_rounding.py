# SPDX-License-Identifier: Apache-2.0
"""Rounding on grids that float32 holds only approximately, and from clean values that lie off the grid."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robust3d.volume.quantise import round_toward

STEPS = arrays(np.int16, 20, elements=st.integers(-3000, 3000))
# In steps of 1/1024: exact in float32, and so are differences, which those of denormals are not.
VALUES = arrays(np.int32, 20, elements=st.integers(-300 * 1024, 300 * 1024)).map(lambda n: np.float32(n / 1024))
SLOPES = st.sampled_from([1.0, -1.0, 0.25, float(np.float32(0.1)), float(np.float32(0.7))])


def on(steps, slope, inter):
    return torch.from_numpy(steps * slope + inter).float()


@given(clean=STEPS, candidate=VALUES, slope=SLOPES, inter=st.sampled_from([0.0, -1024.0, 0.5]))
def test_result_is_on_the_grid_between_clean_and_candidate(clean, candidate, slope, inter) -> None:
    reference, moved = on(clean, slope, inter), torch.from_numpy(candidate)
    exact = round_toward(moved, reference, slope=slope, inter=inter)
    steps = ((exact - inter) / slope).numpy()
    np.testing.assert_allclose(steps, np.rint(steps), rtol=0, atol=1e-9)
    # As float32, which is how a saved volume is read back.
    result = exact.float()
    assert bool((result >= torch.minimum(reference, moved)).all())
    assert bool((result <= torch.maximum(reference, moved)).all())


@given(clean=STEPS, steps=STEPS, slope=SLOPES, inter=st.sampled_from([0.0, -1024.0]))
def test_grid_values_stay_whatever_the_clean_value(clean, steps, slope, inter) -> None:
    grid = on(steps, slope, inter)
    assert torch.equal(round_toward(grid, on(clean, slope, inter), slope=slope, inter=inter).float(), grid)


@pytest.mark.parametrize(
    ("clean", "candidate", "expected"),
    [(3.3, 3.8, 3), (3.7, 3.9, 4), (3.7, 3.7, 4), (3.7, 5.2, 5), (3.7, 2.1, 3), (-0.6, -0.9, -1), (0, 10.99999, 10)],
)
def test_off_grid_by_hand(clean, candidate, expected) -> None:
    assert round_toward(torch.tensor([candidate]), torch.tensor([float(clean)])).item() == expected
