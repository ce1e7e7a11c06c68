# SPDX-License-Identifier: Apache-2.0
"""Lean graphs: the same gradient from a fraction of the memory."""

import pytest
import torch
from torch import Tensor, nn

from robust3d.networks.folding import channels_last, inference_copy
from robust3d.networks.lean import LeanMaxPool3d, lean_graphs, packed_signs, pools_blocks, unpacked_signs
from robust3d.networks.resdsn import ResDSN
from robust3d.segment.footprint import counted_graph


def gradient(network: nn.Module, windows: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return output, gradient of a random product with it, and the bytes that the graph keeps."""
    inputs = windows.detach().requires_grad_(True)
    with counted_graph(network) as held:
        output = network(inputs)
    cotangent = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    return output.detach(), torch.autograd.grad(output, inputs, cotangent)[0], sum(held.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("layout", [channels_last, lambda network: network])
def test_a_lean_graph_has_the_same_gradient_and_a_fraction_of_the_memory(dtype, layout) -> None:
    torch.manual_seed(0)
    network = layout(inference_copy(ResDSN(width=4, deep_supervision=False))).to(dtype)
    windows = torch.randn(2, 16, 16, 16, 1).movedim(-1, 1).to(dtype)
    output, slope, whole = gradient(network, windows)
    with lean_graphs():
        lean_output, lean_slope, lean = gradient(network, windows)
    assert torch.equal(lean_output, output)
    assert torch.equal(lean_slope, slope)
    # A bit in place of two to eight bytes, and a byte for 8 values that are pooled.
    assert lean < whole / torch.finfo(dtype).bits * 4


@pytest.mark.parametrize("channels", ["first", "last"])
def test_signs_survive_packing(channels) -> None:
    values = torch.randn(2, 3, 5, 7, 3)
    values[0, 0, 0] = 0.0
    if channels == "last":
        values = values.contiguous(memory_format=torch.channels_last_3d)
    signs = packed_signs(values)
    assert signs.nbytes == -(-values.numel() // 8)
    assert torch.equal(unpacked_signs(signs, values.shape, values.stride(), values.dtype), (values > 0).float())


@pytest.mark.parametrize("block", [2, (1, 2, 3)])
@pytest.mark.parametrize("channels", ["first", "last"])
def test_pooling_by_blocks_equals_torch(block, channels) -> None:
    pool = nn.MaxPool3d(block)
    features = torch.randn(2, 3, 7, 6, 8)
    if channels == "last":
        features = features.contiguous(memory_format=torch.channels_last_3d)
    expected, slope, _ = gradient(pool, features)
    with lean_graphs():
        found, lean_slope, held = gradient(LeanMaxPool3d(pool), features)
    assert torch.equal(found, expected)
    assert torch.equal(lean_slope, slope)
    assert held == expected.numel()


def test_only_whole_blocks_side_by_side_are_pooled_so() -> None:
    assert pools_blocks(nn.MaxPool3d(2))
    assert not pools_blocks(nn.MaxPool3d(3, stride=2))
    assert not pools_blocks(nn.MaxPool3d(3))
    assert not pools_blocks(nn.MaxPool3d(2, padding=1))
    assert not pools_blocks(nn.MaxPool3d(2, ceil_mode=True))
