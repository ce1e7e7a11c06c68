# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robust3d.foundation.errors import InputError
from robust3d.threat.model import ThreatModel

VALUES = arrays(np.float32, 30, elements=st.floats(-1500, 1500, width=32))


@given(clean=VALUES, candidate=VALUES, epsilon=st.floats(0, 50), storage=st.sampled_from(["float32", "int16"]))
def test_projection_is_in_the_ball_in_range_and_idempotent(clean, candidate, epsilon, storage) -> None:
    threat = ThreatModel(epsilon=epsilon, unit="HU", valid=(-100, 240), storage=storage)
    clean = np.rint(clean) if storage == "int16" else clean
    first = threat.project(torch.from_numpy(candidate), torch.from_numpy(clean))
    assert np.abs(first.numpy().astype(np.float64) - clean.clip(-100, 240)).max() <= epsilon + 1e-4
    assert first.min() >= -100
    assert first.max() <= 240
    assert torch.equal(threat.project(first, torch.from_numpy(clean)), first)
    assert threat.verify(first, torch.from_numpy(clean)) <= epsilon + 1e-4
    if storage == "int16":
        assert torch.equal(first, first.round())


@given(clean=VALUES, candidate=VALUES)
def test_epsilon_zero_gives_the_clipped_volume(clean, candidate) -> None:
    threat = ThreatModel(epsilon=0, unit="HU", valid=(-100, 240))
    projected = threat.project(torch.from_numpy(candidate), torch.from_numpy(clean))
    np.testing.assert_array_equal(projected.numpy(), clean.clip(-100, 240))


@pytest.mark.parametrize(
    ("candidate", "message"),
    [([1.0, 11.0], "exceeds epsilon"), ([250.0, 240.0], "exceeds|leave"), ([math.nan, 0.0], "NaN"), ([0.0], "shape")],
)
def test_verification_catches(candidate, message) -> None:
    threat = ThreatModel(epsilon=10.2, unit="HU", valid=(-100, 240))
    with pytest.raises(InputError, match=message):
        threat.verify(torch.tensor(candidate), torch.tensor([0.0, 0.0] if candidate[0] < 100 else [240.0, 240.0]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": -1, "unit": "HU"}, "zero or a positive"),
        ({"epsilon": math.nan, "unit": "HU"}, "zero or a positive"),
        ({"epsilon": 1, "unit": ""}, "needs a unit"),
        ({"epsilon": 1, "unit": "hu"}, "needs a unit"),
        ({"epsilon": 1, "unit": "HU", "valid": (5, 5)}, "is empty"),
        ({"epsilon": 1, "unit": "HU", "norm": "lin"}, "did you mean 'linf'"),
        ({"epsilon": 1, "unit": "HU", "storage": "int8"}, "did you mean 'int16'"),
    ],
)
def test_impossible_threats_are_refused(settings, message) -> None:
    with pytest.raises(InputError, match=message):
        ThreatModel(**settings)
