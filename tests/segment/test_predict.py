# SPDX-License-Identifier: Apache-2.0
"""Predictions against MONAI's sliding window, and the pieces around them."""

import numpy as np
import pytest
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference
from torch import nn

from robust3d.foundation.errors import InputError
from robust3d.networks.resdsn import ResDSN
from robust3d.segment.components import drop_small_components
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import dataset_zscore, hu_window, zscore
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.windows import window_weights


@pytest.mark.parametrize("shape", [(20, 17, 23), (16, 16, 16), (9, 30, 12)])
@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.6])
@pytest.mark.parametrize("mode", ["constant", "gaussian"])
def test_prediction_equals_monai(make_net, shape, fraction, mode) -> None:
    net = make_net(3, torch.float32)
    segmenter = Segmenter.from_network(
        net, window=(12, 10, 8), grid=overlap(fraction), intensity=hu_window(-100, 240), fusion="logits", weighting=mode
    )
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 500 - 200
    fixed = segmenter.intensity.frozen_at(image)
    normalised = fixed.normalise(image)
    with torch.no_grad():
        theirs = sliding_window_inference(
            normalised[None, None],
            (12, 10, 8),
            4,
            net,
            overlap=fraction,
            mode=mode,
            cval=float(fixed.normalise(torch.tensor(-100.0))),
        )[0]
    ours = segmenter.probabilities(image)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert np.array_equal(segmenter.predict(image).raw, theirs.argmax(0).numpy())


@pytest.mark.parametrize("window", [(8, 8, 8), (64, 64, 64), (5, 12, 33)])
def test_gaussian_weights_equal_monai(window) -> None:
    theirs = compute_importance_map(window, mode="gaussian")
    torch.testing.assert_close(window_weights(window, "gaussian"), theirs, rtol=1e-6, atol=1e-6)


def test_majority_vote() -> None:
    # Windows of 2 in a line of 3 voxels overlap in the middle one; each votes by the sign of its first voxel.
    class Votes(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            first = windows[:, :, :1].expand_as(windows)
            return torch.cat([torch.zeros_like(first), first], dim=1)

    segmenter = Segmenter.from_network(
        Votes(), window=(2, 1, 1), grid=overlap(0.5), intensity=zscore(), fusion="vote", weights_sha256="0" * 64
    )
    image = torch.tensor([3.0, -1.0, -2.0]).view(3, 1, 1)
    assert segmenter.probabilities(image)[1].flatten().tolist() == [1.0, 0.5, 0.0]


def test_components_below_the_fraction_are_dropped() -> None:
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[:4, :4, :4] = 1  # 64 voxels
    mask[6:8, 6:8, 6:8] = 1  # 8 of 72 voxels: 0.11
    mask[9, 9, 9] = 2  # alone in its class
    kept = drop_small_components(mask, 0.2)
    assert kept.sum() == 64 + 2
    assert np.array_equal(drop_small_components(mask, 0.1), mask)
    assert np.array_equal(drop_small_components(mask, 0), mask)


def test_intensity_schemes() -> None:
    image = torch.tensor([-1000.0, -100.0, 70.0, 240.0, 900.0])
    clipped = np.array([-100, -100, 70, 240, 240], dtype=np.float64)
    expected = (clipped - clipped.mean()) / clipped.std()
    np.testing.assert_allclose(hu_window(-100, 240).normalise(image), expected, rtol=1e-6)
    np.testing.assert_allclose(dataset_zscore(-100, 240, 75, 50).normalise(image), (clipped - 75) / 50, rtol=1e-6)
    with pytest.raises(InputError, match="cannot be normalised"):
        hu_window(-100, 240).normalise(torch.full((3, 3), -1000.0))


class Wrong(nn.Module):
    def __init__(self, output: str) -> None:
        super().__init__()
        self.output = output

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        two = windows.repeat(1, 2, 1, 1, 1)
        return {"size": two[..., :-1], "channels": two[:, :0], "nan": two / 0, "tuple": (two,)}[self.output]


@pytest.mark.parametrize("output", ["size", "channels", "nan", "tuple"])
def test_a_network_with_a_wrong_output_is_refused(output) -> None:
    with pytest.raises(InputError):
        Segmenter.from_network(Wrong(output), window=8, grid=overlap(0.5), intensity=zscore())


def test_a_module_is_left_as_it_was(make_net) -> None:
    net = make_net(2, torch.float32).train()
    net[3].eval()
    net[0].bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    segmenter = Segmenter.from_network(net, window=8, grid=overlap(0.5), intensity=zscore())
    image = torch.randn((9, 10, 11), generator=torch.Generator().manual_seed(0))
    segmenter.predict(image)
    segmenter.loss_gradient(image, torch.zeros((9, 10, 11)), mode="fused")
    with pytest.raises(InputError):
        segmenter.loss_gradient(image, torch.zeros((9, 10, 10)))
    assert [module.training for module in net] == [True, True, True, False]
    assert [parameter.requires_grad for parameter in net.parameters()] == [True, False, True, True, True, True]
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_the_wiring_of_a_network_is_part_of_its_settings(make_net) -> None:
    options = {"window": 8, "grid": overlap(0.5), "intensity": zscore()}
    net = make_net(2, torch.float32)
    described = [
        Segmenter.from_network(net, **options, architecture=architecture).settings()
        for architecture in (None, {"long_residual": True}, {"long_residual": False})
    ]
    assert described[0]["network"] == {"class": "Sequential"}
    assert described[1] != described[2]


def test_the_weights_hash_follows_the_weights(make_net) -> None:
    net = make_net(2, torch.float32)
    segmenter = Segmenter.from_network(net, window=8, grid=overlap(0.5), intensity=zscore())
    before = segmenter.weights_sha256
    with torch.no_grad():
        net[0].bias.add_(1)
    assert segmenter.weights_sha256 != before


def test_windows_must_fit_the_stride() -> None:
    with pytest.raises(InputError, match="multiple of 8"):
        Segmenter.from_network(ResDSN(width=2), window=20, grid=overlap(0.5), intensity=zscore())


@pytest.mark.parametrize("option", [{"mode": "fuzed"}, {"windows": "al"}, {"target": "coars"}, {"statistics": "thru"}])
def test_unknown_gradient_options_are_refused(make_net, option) -> None:
    segmenter = Segmenter.from_network(make_net(2), window=8, grid=overlap(0.5), intensity=zscore())
    with pytest.raises(InputError, match="did you mean"):
        segmenter.loss_gradient(torch.randn(8, 8, 8).double(), torch.zeros(8, 8, 8), **option)
