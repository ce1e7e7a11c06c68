# SPDX-License-Identifier: Apache-2.0
"""Inference copies: the same function in a layout that is fast."""

import torch
from torch import nn

from robust3d.networks.folding import PointwiseConv3d, channels_last, inference_copy
from robust3d.networks.rectified import RectifiedConv3d
from robust3d.networks.resdsn import ResDSN


def is_channels_last(tensor: torch.Tensor) -> bool:
    # With one channel both layouts are the same memory; then the stride of the channel tells.
    return tensor.stride(1) == 1


def test_every_activation_and_gradient_is_channels_last() -> None:
    network = channels_last(inference_copy(ResDSN(width=4, deep_supervision=False)))
    layouts = []

    def watch(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        layouts.append(is_channels_last(output))
        output.register_hook(lambda gradient: layouts.append(is_channels_last(gradient)))

    for layer in network.modules():
        if isinstance(layer, RectifiedConv3d):
            layer.register_forward_hook(watch)
    windows = torch.randn(2, 1, 16, 16, 16, requires_grad=True)
    logits = network(windows)
    torch.autograd.grad(logits.square().mean(), windows)
    # Thirteen convolutions and three deconvolutions, each with its gradient; the head is a matrix product.
    assert len(layouts) == 2 * 16
    assert all(layouts)


def test_pointwise_convolution_equals_the_layer_it_replaces() -> None:
    torch.manual_seed(0)
    layer = nn.Conv3d(5, 3, kernel_size=1).double()
    features = torch.randn(2, 5, 4, 3, 6, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(2, 3, 4, 3, 6, dtype=torch.float64)
    output = PointwiseConv3d(layer)(features)
    torch.testing.assert_close(output, layer(features))
    (found,) = torch.autograd.grad(output, features, cotangent)
    (expected,) = torch.autograd.grad(layer(features), features, cotangent)
    torch.testing.assert_close(found, expected)


def test_only_plain_convolutions_of_one_voxel_are_replaced() -> None:
    layers = nn.Sequential(
        nn.Conv3d(4, 4, 1),
        nn.Conv3d(4, 4, 1, bias=False, padding="same"),
        nn.Conv3d(4, 4, 1, stride=2),
        nn.Conv3d(4, 4, 1, padding=1),
        nn.Conv3d(4, 4, 1, groups=2),
        nn.Conv3d(4, 4, (1, 1, 3), padding=(0, 0, 1)),
    )
    found = [isinstance(layer, PointwiseConv3d) for layer in inference_copy(layers).children()]
    assert found == [True, True, False, False, False, False]
    features = torch.randn(1, 4, 4, 4, 4)
    torch.testing.assert_close(inference_copy(layers)(features), layers.eval()(features))


def test_a_relu_directly_after_a_convolution_becomes_one_layer_with_it() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.ReLU(inplace=True),
        nn.ConvTranspose3d(4, 3, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv3d(3, 3, 3, padding="same"),
        nn.ReLU(),
        nn.Conv3d(3, 2, 3, dilation=2, padding=1),
        nn.Sigmoid(),
    ).eval()
    layers[1].running_var.uniform_(0.5, 1.5)
    copied = inference_copy(layers)
    found = [index for index, layer in enumerate(copied) if isinstance(layer, RectifiedConv3d)]
    assert found == [0, 3]
    for dtype in (torch.float32, torch.float64):
        features = torch.randn(2, 2, 4, 4, 4, dtype=dtype, requires_grad=True)
        output, expected = copied.to(dtype)(features), layers.to(dtype)(features)
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
        cotangent = torch.randn_like(output)
        (slope,) = torch.autograd.grad(output, features, cotangent)
        (right,) = torch.autograd.grad(expected, features, cotangent)
        torch.testing.assert_close(slope, right, rtol=1e-5, atol=1e-5)


def test_mixed_precision_reaches_the_joined_layers() -> None:
    layers = inference_copy(nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layers(torch.randn(1, 1, 4, 4, 4)).dtype == torch.bfloat16
