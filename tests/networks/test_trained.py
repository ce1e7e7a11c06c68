# SPDX-License-Identifier: Apache-2.0
"""Layers in training against torch's own, and which are changed."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from robust3d.networks import trained
from robust3d.networks.folding import inference_copy
from robust3d.networks.registry import build_network
from robust3d.networks.trained import cheaper_layers, plain_layers

LAYERS = {
    "first": (lambda: nn.Conv3d(1, 4, 3, padding=1), trained._FirstConv3d),
    "first without bias": (lambda: nn.Conv3d(1, 4, 3, padding=1, bias=False), trained._FirstConv3d),
    "two channels": (lambda: nn.Conv3d(2, 4, 3, padding=1), None),
    "unpadded": (lambda: nn.Conv3d(1, 4, 3), None),
    "same": (lambda: nn.Conv3d(1, 4, 3, padding="same"), None),
    "strided": (lambda: nn.Conv3d(1, 4, 3, padding=1, stride=2), None),
    "reflected": (lambda: nn.Conv3d(1, 4, 3, padding=1, padding_mode="reflect"), None),
    "doubling": (lambda: nn.ConvTranspose3d(2, 4, 4, stride=2, padding=1), trained._ConvTranspose3d),
    "doubling without bias": (lambda: nn.ConvTranspose3d(2, 4, 4, stride=2, padding=1, bias=False), None),
    "output padding": (
        lambda: nn.ConvTranspose3d(2, 4, 3, stride=2, padding=1, output_padding=1),
        trained._ConvTranspose3d,
    ),
    "groups": (lambda: nn.ConvTranspose3d(2, 4, 2, stride=2, groups=2), trained._ConvTranspose3d),
    # Changes the convolution's result in place.
    "doubling and ReLU": (
        lambda: nn.Sequential(nn.ConvTranspose3d(2, 4, 4, stride=2, padding=1), nn.ReLU(inplace=True)),
        trained._ConvTranspose3d,
    ),
}
"""A layer, and the class that it or its first part gets."""


def windows_for(name: str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    torch.manual_seed(0)
    layer = LAYERS[name][0]()
    channels = 1 if isinstance(layer, nn.Conv3d) and name != "two channels" else 2
    return torch.randn(2, channels, 6, 7, 8, dtype=dtype)


def gradients(layer: nn.Module, windows: torch.Tensor) -> list[torch.Tensor]:
    result = layer(windows)
    (result**3).sum().backward()
    return [result.detach(), *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("name", LAYERS)
def test_results_and_gradients_are_those_of_torch(name, monkeypatch) -> None:
    """In float64, in which a first layer is changed for this test alone."""
    monkeypatch.setattr(trained, "_is_mixed", lambda image: True)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda kind: torch.float64)
    build, kind = LAYERS[name]
    plain = build().double()
    layer = cheaper_layers(copy.deepcopy(plain))
    part = layer[0] if isinstance(layer, nn.Sequential) else layer
    assert type(part) is (kind or type(plain))
    windows = windows_for(name)
    for one, other in zip(gradients(layer, windows), gradients(plain, windows), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_first_layer_is_changed_in_mixed_precision_alone(monkeypatch) -> None:
    seen: list[tuple[int, ...]] = []
    inner = trained.conv3d
    monkeypatch.setattr(
        trained, "conv3d", lambda *given, **more: (seen.append(given[0].shape), inner(*given, **more))[1]
    )
    layer, windows = cheaper_layers(nn.Conv3d(1, 4, 3, padding=1)), windows_for("first", torch.float32)
    plain = layer(windows)
    assert not seen
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(windows)
        assert seen == [(2, 3, 6, 7, 8)]
        # The windows' own gradient is not cheaper.
        layer(windows.clone().requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        layer.double()(windows.double())
    assert len(seen) == 1
    # Roundings to 8 bits, of values about 1.
    torch.testing.assert_close(mixed.float(), plain, rtol=2**-7, atol=2**-7)


def test_second_derivatives() -> None:
    layer = cheaper_layers(nn.ConvTranspose3d(1, 2, 2, stride=2).double())
    features = torch.randn(1, 1, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def run(features: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        given = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(layer, given, (features,)) ** 2

    assert torch.autograd.gradgradcheck(run, (features, *layer.parameters()))


def test_a_part_that_is_computed_anew_in_the_backward_pass_is_the_same() -> None:
    torch.manual_seed(0)
    network = cheaper_layers(nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.MaxPool3d(2)))
    windows = torch.randn(2, 1, 8, 8, 8)
    found = []
    for run in (network, lambda given: checkpoint(network, given, use_reentrant=False)):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            result = run(windows)
        result.float().square().sum().backward()
        found.append([parameter.grad.clone() for parameter in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_copy_for_inference_has_plain_layers() -> None:
    torch.manual_seed(0)
    network = build_network("resdsn", width=2)
    windows = torch.randn(1, 1, 16, 16, 16)
    kinds, expected = [type(one) for one in network.modules()], inference_copy(network)
    assert [type(one) for one in cheaper_layers(network).modules()] != kinds
    found = inference_copy(network)
    assert [type(one) for one in found.modules()] == [type(one) for one in expected.modules()]
    assert torch.equal(found(windows), expected(windows))
    assert [type(one) for one in plain_layers(network).modules()] == kinds


@pytest.mark.parametrize("pooling", [nn.MaxPool3d(2), nn.MaxPool3d(3, stride=2, padding=1)])
def test_a_maximum_in_mixed_precision_keeps_its_type_and_values(pooling) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 4, 8, 8, 8).bfloat16()
    results = []
    for layer in (cheaper_layers(copy.deepcopy(pooling)), pooling):
        given = features.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            largest = layer(given)
        # Powers of two, of which few fall on one voxel, so that sums are exact in either type.
        largest.backward(torch.full_like(largest, 0.25))
        results.append((largest, given.grad))
    (largest, gradient), (plain, plain_gradient) = results
    assert (largest.dtype, plain.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(largest.float(), plain)
    assert torch.equal(gradient, plain_gradient)
