# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robust3d.volume.quantise import round_toward

# In steps of 1/1024: exact in float32, and so are differences, which those of denormals are not.
VALUES = arrays(np.int32, 20, elements=st.integers(-3000 * 1024, 3000 * 1024)).map(lambda n: np.float32(n / 1024))


@settings(deadline=None)
@given(clean=arrays(np.int16, 20, elements=st.integers(-3000, 3000)), moved=VALUES)
def test_rounding_lands_on_the_grid_and_never_farther(clean: np.ndarray, moved: np.ndarray) -> None:
    candidate = torch.from_numpy(moved)
    reference = torch.from_numpy(clean)
    rounded = round_toward(candidate, reference)
    assert torch.equal(rounded, rounded.round())
    assert bool(((rounded - reference).abs() <= (candidate.double() - reference).abs()).all())
    assert bool(((rounded - candidate).abs() < 1).all())


@settings(deadline=None)
@given(values=arrays(np.int16, 20, elements=st.integers(-3000, 3000)), slope=st.sampled_from([0.5, 1.0, 2.0]))
def test_grid_values_stay(values: np.ndarray, slope: float) -> None:
    grid = torch.from_numpy(values * slope - 1024).float()
    assert torch.equal(round_toward(grid, torch.zeros(20), slope=slope, inter=-1024).float(), grid)
