# SPDX-License-Identifier: Apache-2.0
"""Rewritten layers against torch's own, and what is not to be rewritten."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from robust3d.networks.rewriting import RewrittenLayers

LAYERS = {
    "first": lambda: nn.Conv3d(1, 4, 3, padding=1),
    "first without bias": lambda: nn.Conv3d(1, 4, 3, padding=1, bias=False),
    "two channels": lambda: nn.Conv3d(2, 4, 3, padding=1),
    "unpadded": lambda: nn.Conv3d(1, 4, 3),
    "same": lambda: nn.Conv3d(1, 4, 3, padding="same"),
    "strided": lambda: nn.Conv3d(1, 4, 3, padding=1, stride=2),
    "reflected": lambda: nn.Conv3d(1, 4, 3, padding=1, padding_mode="reflect"),
    "doubling": lambda: nn.ConvTranspose3d(2, 4, 4, stride=2, padding=1),
    "doubling without bias": lambda: nn.ConvTranspose3d(2, 4, 4, stride=2, padding=1, bias=False),
    "output padding": lambda: nn.ConvTranspose3d(2, 4, 3, stride=2, padding=1, output_padding=1),
    "groups": lambda: nn.ConvTranspose3d(2, 4, 2, stride=2, groups=2),
    # Changes the convolution's result in place.
    "doubling and ReLU": lambda: nn.Sequential(nn.ConvTranspose3d(2, 4, 4, stride=2, padding=1), nn.ReLU(inplace=True)),
}


def gradients(layer: nn.Module, windows: torch.Tensor) -> list[torch.Tensor]:
    result = layer(windows)
    (result**3).sum().backward()
    return [result.detach(), *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("name", LAYERS)
def test_results_and_gradients_are_those_of_torch(name) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    channels = 1 if isinstance(layer, nn.Conv3d) and name != "two channels" else 2
    windows = torch.randn(2, channels, 6, 7, 8, dtype=torch.float64)
    expected = gradients(copy.deepcopy(layer), windows)
    with RewrittenLayers():
        found = gradients(layer, windows)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pooling", [nn.MaxPool3d(2), nn.MaxPool3d(3, stride=2, padding=1)])
def test_a_maximum_in_mixed_precision_keeps_its_type_and_values(pooling) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 4, 8, 8, 8).bfloat16()
    results = []
    for context in (RewrittenLayers(), nullcontext()):
        given = features.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16), context:
            largest = pooling(given)
        # Powers of two, of which few fall on one voxel, so that sums are exact in either type.
        largest.backward(torch.full_like(largest, 0.25))
        results.append((largest, given.grad))
    (largest, gradient), (plain, plain_gradient) = results
    assert (largest.dtype, plain.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(largest.float(), plain)
    assert torch.equal(gradient, plain_gradient)
