# SPDX-License-Identifier: Apache-2.0
"""Fast gradients: near the exact ones, with predictions and the module itself untouched."""

import numpy as np
import pytest
import torch
from torch import nn

from robust3d.foundation.errors import InputError
from robust3d.networks.resdsn import ResDSN
from robust3d.segment import batch, precision
from robust3d.segment.footprint import kept_bytes
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import hu_window
from robust3d.segment.precision import fast_dtype
from robust3d.segment.segmenter import Segmenter


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return ResDSN(width=4)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(60, 80, (24, 20, 16)).astype(np.float32)


def build(network: nn.Module, **options) -> Segmenter:
    return Segmenter.from_network(network, window=16, grid=overlap(0.5), intensity=hu_window(-100, 240), **options)


@pytest.mark.parametrize("mode", ["window_mean", "fused"])
def test_a_bfloat16_gradient_points_where_the_exact_one_does(network, image, mode, monkeypatch) -> None:
    # Whatever this machine multiplies fast.
    monkeypatch.setattr(precision, "fast_dtype", lambda device: torch.bfloat16)
    label = (image > 100).astype(np.uint8)
    exact, fast = (
        build(network, precision=name).loss_gradient(image, label, "dice", mode)[1].ravel()
        for name in ("exact", "fast")
    )
    assert fast.dtype == np.float32
    cosine = float(exact @ fast / np.linalg.norm(exact) / np.linalg.norm(fast))
    # bfloat16 keeps 8 bits: each of the network's layers rounds by up to 0.4 %.
    assert 0.98 < cosine < 0.9999999


def test_predictions_are_those_of_the_exact_network(network, image) -> None:
    exact, fast = (build(network, precision=name) for name in ("exact", "fast"))
    assert torch.equal(exact.probabilities(image), fast.probabilities(image))


def test_the_module_is_left_alone_and_results_tell_the_precision(network) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    segmenter = build(network.train(), precision="fast")
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert segmenter.settings()["gradients"] == str(fast_dtype(torch.device("cpu"))).removeprefix("torch.")
    assert build(network).settings()["gradients"] == "float32"


def test_a_machine_without_the_instructions_stays_in_float32(monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True}, raising=False)
    assert fast_dtype(torch.device("cpu")) is torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert fast_dtype(torch.device("cpu")) is torch.bfloat16


def test_a_plain_callable_has_no_fast_copy() -> None:
    def flat(windows: torch.Tensor) -> torch.Tensor:
        return torch.cat([windows, -windows], dim=1)

    with pytest.raises(InputError, match="use 'exact'"):
        build(flat, precision="fast")


def test_the_window_batch_does_not_depend_on_what_is_asked_first(network, image, monkeypatch) -> None:
    monkeypatch.setattr(precision, "fast_dtype", lambda device: torch.bfloat16)
    label = (image > 100).astype(np.uint8)
    # Room for two exact windows, or four fast ones.
    monkeypatch.setattr(batch, "_CPU_BYTES", 2 * kept_bytes(network.eval(), (16, 16, 16)))
    first, second = build(network, precision="fast"), build(network, precision="fast")
    first.predict(image)
    second.loss_gradient(image, label, "dice")
    assert first.batch.size == second.batch.size == 2
