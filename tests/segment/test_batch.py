# SPDX-License-Identifier: Apache-2.0
"""Window batches: their size from what a window keeps, halved where memory runs out, and windows loaded ahead."""

import warnings

import pytest
import torch
from torch import nn

from robust3d.segment import batch as module
from robust3d.segment.batch import WindowBatch
from robust3d.segment.cost import counting
from robust3d.segment.footprint import kept_bytes
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import unit_window
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.supply import Supply, home_of_volumes
from robust3d.segment.windows import WindowPlan

WINDOW = (8, 8, 8)


class Limited(nn.Module):
    """Runs out of memory, or fails otherwise, where more windows than it can take come at once."""

    def __init__(self, inner: nn.Module, most: int, message: str = "CUDA out of memory. Tried to allocate 2.00 GiB"):
        super().__init__()
        self.inner, self.most, self.message = inner, most, message
        self.seen: list[int] = []

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(windows))
        if len(windows) > self.most:
            raise RuntimeError(self.message)
        return self.inner(windows)


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((16, 12, 20), generator=generator, dtype=torch.float64) * 300 - 80
    return image, (image > 100).long()


def segmenter(network: nn.Module, batch: int | None = 8) -> Segmenter:
    return Segmenter.from_network(
        network, window=WINDOW, grid=overlap(0.5), intensity=unit_window(-100, 240), window_batch=batch, checks=False
    )


def test_kept_bytes_by_hand() -> None:
    # Each ReLU keeps its result, of 4 channels in float32; a convolution keeps its input only for its weights.
    layers = [nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 4, 1), nn.ReLU(), nn.Conv3d(4, 2, 1)]
    net = nn.Sequential(*layers)
    channel = 4 * 8**3
    assert 2 * 4 * channel <= kept_bytes(net, WINDOW) <= (1 + 2 * 4) * channel
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert kept_bytes(lambda windows: windows, WINDOW) == 64 * channel


def test_a_module_without_gradient_still_has_a_batch() -> None:
    class Outside(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            bright = torch.from_numpy(windows.numpy() * 1)
            return torch.cat([-bright, bright], dim=1)

    assert segmenter(Outside(), None).predict(torch.rand(16, 12, 20) * 100).raw.shape == (16, 12, 20)


@pytest.mark.parametrize(
    ("bytes_of_window", "size"), [(1, 16), (3 * 2**25, 16), (3 * 2**25 + 1, 8), (2**29, 2), (2**31, 1)]
)
def test_the_batch_is_the_largest_power_of_two_that_fits(monkeypatch, bytes_of_window, size) -> None:
    monkeypatch.setattr(module, "kept_bytes", lambda network, window: bytes_of_window)
    batch = WindowBatch()
    assert batch.known(nn.Conv3d(1, 2, 1), WINDOW) == size
    monkeypatch.setattr(module, "kept_bytes", lambda network, window: pytest.fail("measured twice"))
    assert batch.known(nn.Conv3d(1, 2, 1), WINDOW) == size


@pytest.mark.parametrize("mode", ["window_mean", "fused"])
def test_out_of_memory_halves_the_batch_once_said_and_changes_nothing(make_net, case, mode) -> None:
    expected = segmenter(make_net()).loss_gradient(*case, "ce", mode)
    limited = Limited(make_net(), 2)
    model = segmenter(limited)
    sentence = "out of memory on cpu with 8 windows a pass; going on with 4"
    with pytest.warns(UserWarning, match=sentence) as said, counting() as cost:
        value, gradient = model.loss_gradient(*case, "ce", mode)
    assert len(said) == 1
    assert value == pytest.approx(expected[0], rel=1e-12)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-9, atol=1e-18)
    windows = len(overlap(0.5).corners((16, 12, 20), WINDOW))
    assert cost.gradient_windows == windows
    # Copies of the segmenter have learnt it too.
    limited.seen.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.frozen_at(case[0]).predict(case[0])
    assert set(limited.seen) <= {1, 2}


def test_memory_for_one_window_is_needed_and_other_errors_are_passed_on(make_net, case) -> None:
    net = make_net()
    model = segmenter(Limited(net, 1, "out of memory"))
    model.network.most = 0
    with pytest.warns(UserWarning, match="out of memory"), pytest.raises(RuntimeError, match="out of memory"):
        model.predict(case[0])
    broken = Limited(net, 1, "shapes do not match")
    model = segmenter(broken)
    broken.seen.clear()
    with pytest.raises(RuntimeError, match="shapes do not match"):
        model.predict(case[0])
    assert broken.seen == [8]


def test_windows_loaded_ahead_are_the_same_in_the_same_order() -> None:
    volume = torch.arange(20.0 * 12 * 16).view(20, 12, 16)
    plan = WindowPlan.of((20, 12, 16), WINDOW, overlap(0.5))
    for size in (1, 3, 5):
        with Supply(plan, volume, torch.device("cpu"), ahead=True) as supply:
            for start in range(0, len(plan.corners), size):
                corners = plan.corners[start : start + size]
                assert torch.equal(supply.take(corners), plan.gather(volume, corners))
    # After a batch was halved, what was loaded ahead is not what is asked for.
    with Supply(plan, volume, torch.device("cpu"), ahead=True) as supply:
        supply.take(plan.corners[:4])
        for corners in (plan.corners[4:6], plan.corners[6:8]):
            assert torch.equal(supply.take(corners), plan.gather(volume, corners))


def test_volumes_live_beside_the_network_where_they_fit(monkeypatch) -> None:
    class Card:
        total_memory = 24 * 2**30

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Card)
    gpu, host = torch.device("cuda"), torch.device("cpu")
    assert home_of_volumes(gpu, (256, 256, 100), 2) == gpu
    assert home_of_volumes(gpu, (512, 512, 400), 2) == gpu
    assert home_of_volumes(gpu, (512, 512, 800), 3) == host
    assert home_of_volumes(host, (512, 512, 800), 3) == host


@pytest.mark.parametrize("weighting", ["constant", "gaussian"])
def test_coverage_by_slabs_is_the_whole_coverage(weighting) -> None:
    from robust3d.segment.windows import window_weights

    plan = WindowPlan.of((70, 9, 12), WINDOW, overlap(0.3))
    weights = window_weights(WINDOW, weighting)
    slabs = [part for _, part in plan.covered_slabs(weights)]
    assert len(slabs) == 3
    assert torch.equal(torch.cat(slabs), plan.coverage(weights))


def test_memory_that_runs_out_in_the_measurement_is_told() -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        kept_bytes(Limited(nn.Conv3d(1, 2, 1), most=0), WINDOW)
    fails = Limited(nn.Conv3d(1, 2, 1), most=0, message="no gradient of this kind")
    assert kept_bytes(fails, WINDOW) == 64 * 4 * 8**3
