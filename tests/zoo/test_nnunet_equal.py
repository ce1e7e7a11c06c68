# SPDX-License-Identifier: Apache-2.0
"""Prediction through robust3d against arrays that nnunetv2 itself computed (tests/zoo/golden/make_nnunet.py)."""

from pathlib import Path

import numpy as np
import pytest
import torch

import robust3d as r3
from robust3d.segment.grid import step
from robust3d.segment.resample import Resampling, resampled_shape
from robust3d.segment.resampled import Resampled
from robust3d.segment.windows import window_weights
from tests.zoo.nnunet_cases import CASES, RESAMPLINGS, WINDOWS, file_of

GOLDEN = np.load(Path(__file__).parent / "golden" / "nnunet.npz")


@pytest.mark.parametrize("window", WINDOWS)
def test_weights_of_a_window(window) -> None:
    found = window_weights(window, "nnunet")
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), GOLDEN[f"gaussian {window}"].astype(np.float32))


def test_starts() -> None:
    for length in range(16, 120):
        assert step(0.5).starts(length, 16) == GOLDEN[f"starts {length}"].tolist()


@pytest.mark.parametrize("name", RESAMPLINGS)
def test_resampling(name) -> None:
    image, current, new, order = RESAMPLINGS[name]
    expected = GOLDEN[f"resampled {name}"]
    shape = resampled_shape(image.shape, current, new)
    assert shape == expected.shape
    found = Resampling(order=order)(torch.from_numpy(image), shape, current, new)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.fixture(scope="module", params=CASES)
def model(request, tmp_path_factory):
    """Name, pipeline and volume of a case."""
    one, root = CASES[request.param], tmp_path_factory.mktemp("nnunet")
    volume = r3.read_volume(file_of(one, root / "ct.nii.gz"))
    np.testing.assert_array_equal(volume.image, GOLDEN[f"{request.param} image"])
    pipeline = r3.load_model(str(one.write(root)), device="cpu")
    assert isinstance(pipeline, Resampled)
    return request.param, pipeline.place(volume), volume


def test_preprocessed_volumes(model) -> None:
    name, pipeline, volume = model
    np.testing.assert_allclose(pipeline.on_grid(volume.image).numpy(), GOLDEN[f"{name} data"], atol=2e-5)


def test_fused_logits(model) -> None:
    name, pipeline, _ = model
    heads = len(GOLDEN[f"{name} logits"])
    found = pipeline.model.probabilities(GOLDEN[f"{name} data"])[-heads:]
    np.testing.assert_allclose(found.numpy(), GOLDEN[f"{name} logits"], rtol=1e-5, atol=1e-5)


def test_masks(model) -> None:
    name, pipeline, volume = model
    expected = GOLDEN[f"{name} mask"]
    assert len(np.unique(expected)) > 1
    found = pipeline.predict(volume.image).mask
    np.testing.assert_array_equal(found, expected)
    # As deployed, with logits in half precision, where voxels near a tie differ.
    assert (found != GOLDEN[f"{name} mask of halves"]).mean() < 5e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_nnunetv2_itself_gives_the_same_on_other_volumes(name, tmp_path) -> None:
    pytest.importorskip("nnunetv2", reason="needs nnunetv2, which brings 70 packages")
    from tests.zoo.golden.make_nnunet import predicted

    folder, file = CASES[name].write(tmp_path), file_of(CASES[name], tmp_path / "ct.nii.gz", seed=7)
    theirs, volume = predicted(folder, file), r3.read_volume(file)
    ours = r3.load_model(str(folder), device="cpu").place(volume)
    np.testing.assert_allclose(ours.on_grid(volume.image).numpy(), theirs["data"], atol=2e-5)
    logits = ours.model.probabilities(theirs["data"])[-len(theirs["logits"]) :]
    np.testing.assert_allclose(logits.numpy(), theirs["logits"], rtol=1e-5, atol=1e-5)
    mask = ours.predict(volume.image).mask
    assert (mask != theirs["mask"]).mean() < 1e-3
    assert (mask != theirs["mask of halves"]).mean() < 1e-2
