# SPDX-License-Identifier: Apache-2.0
"""int16 storage: whole numbers within epsilon, never beyond."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robust3d.foundation.errors import InputError
from robust3d.threat.model import ThreatModel

VALUES = arrays(np.float32, 30, elements=st.floats(-1500, 1500, width=32))
WHOLE = arrays(np.int16, 30, elements=st.integers(-1500, 1500))


@given(clean=WHOLE, candidate=VALUES, tenths=st.integers(0, 300))
def test_the_bound_is_exact(clean, candidate, tenths) -> None:
    threat = ThreatModel(epsilon=tenths / 10, unit="HU", valid=(-100, 240), storage="int16")
    stored = threat.project(torch.from_numpy(candidate), torch.from_numpy(clean).float()).numpy()
    assert np.array_equal(stored, np.rint(stored))
    assert np.abs(stored - clean.clip(-100, 240)).max() <= tenths // 10


@given(clean=VALUES, candidate=VALUES, tenths=st.integers(6, 300))
def test_a_clean_volume_of_fractions(clean, candidate, tenths) -> None:
    threat = ThreatModel(epsilon=tenths / 10, unit="HU", valid=(-100, 240), storage="int16")
    stored = threat.project(torch.from_numpy(candidate), torch.from_numpy(clean)).numpy()
    assert np.array_equal(stored, np.rint(stored))
    assert stored.min() >= -100
    assert stored.max() <= 240
    ulp = np.spacing(np.float32(300))
    assert np.abs(stored.astype(np.float64) - clean.clip(-100, 240)).max() <= tenths / 10 + ulp


def test_stored_fractions_are_caught() -> None:
    clean = torch.zeros(3)
    candidate = torch.tensor([0.0, 1.5, 2.0])
    assert ThreatModel(epsilon=2, unit="HU").verify(candidate, clean) == 2
    with pytest.raises(InputError, match="holds fractions"):
        ThreatModel(epsilon=2, unit="HU", storage="int16").verify(candidate, clean)


def test_a_valid_range_of_fractions_cannot_be_stored() -> None:
    with pytest.raises(InputError, match="whole numbers only"):
        ThreatModel(epsilon=2, unit="HU", valid=(-100, 240.5), storage="int16")


def test_fractions_that_no_whole_number_is_near_enough_to_are_refused() -> None:
    threat = ThreatModel(epsilon=0.4, unit="HU", storage="int16")
    threat.check_clean(torch.tensor([1.0, -3.0]))
    with pytest.raises(InputError, match="may reach none; use an epsilon of"):
        threat.check_clean(torch.tensor([1.0, 0.45]))
