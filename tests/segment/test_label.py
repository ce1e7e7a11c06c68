# SPDX-License-Identifier: Apache-2.0
"""Labels beside a volume: classes that the network does not have are told, ignored voxels are not classes."""

import numpy as np
import pytest
import torch

from robust3d.foundation.errors import InputError
from robust3d.segment.label import label_beside

RAW = torch.zeros(70, 5, 4)


@pytest.mark.parametrize(("dtype", "kept"), [(np.uint8, torch.uint8), (np.int16, torch.int64), (np.int64, torch.int64)])
def test_a_label_keeps_its_values(dtype, kept) -> None:
    label = np.random.default_rng(0).integers(0, 3, RAW.shape).astype(dtype)
    label[0] = 255
    label[69, 4, 3] = 2
    found = label_beside(RAW, label, 3)
    assert found.dtype == kept
    assert np.array_equal(found.numpy(), label)


@pytest.mark.parametrize(
    ("value", "sentence"), [(3, "class 3, the network has 0 to 2"), (-1, "class -1, the network has 0 to 2")]
)
@pytest.mark.parametrize("row", [0, 69])
def test_one_voxel_of_another_class_is_told_wherever_it_lies(value, sentence, row) -> None:
    label = np.zeros(RAW.shape, np.int16)
    label[row, 4, 3] = value
    with pytest.raises(InputError, match=sentence):
        label_beside(RAW, label, 3)


@pytest.mark.parametrize("shape", [(0, 3, 3), (3, 0, 3)])
def test_a_label_without_voxels_is_no_crash(shape) -> None:
    assert label_beside(torch.zeros(shape), np.zeros(shape, np.uint8), 2).numel() == 0


def test_another_shape_is_told() -> None:
    with pytest.raises(InputError, match=r"shape \(70, 5, 4\) and label \(70, 5, 3\)"):
        label_beside(RAW, np.zeros((70, 5, 3), np.uint8), 3)
