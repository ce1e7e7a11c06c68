# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from robust3d.networks.folding import inference_copy
from robust3d.networks.resdsn import ResDSN, count_parameters

ABLATIONS = {
    "ResDSN": {},
    "FResDSN": {"short_residual": True},
    "SResDSN": {"short_residual": True, "long_residual": False},
    "DSN": {"long_residual": False},
    "Res": {"deep_supervision": False},
}


def test_parameter_counts_at_the_papers_width() -> None:
    net = ResDSN(width=32)
    assert count_parameters(net) == 8_189_670
    assert count_parameters(net, auxiliary=False) == 7_403_106
    assert count_parameters(ResDSN(width=32, deep_supervision=False)) == 7_403_106


def test_projections_are_what_short_residuals_add() -> None:
    # 1x1x1 with bias where widths differ (32-64, 64-128, 128-256); identity in the decoder.
    added = sum(one * two + two for one, two in ((32, 64), (64, 128), (128, 256)))
    assert count_parameters(ResDSN(width=32, short_residual=True)) == 8_189_670 + added


@pytest.mark.parametrize("flags", ABLATIONS.values(), ids=ABLATIONS.keys())
@pytest.mark.parametrize("shape", [(16, 16, 16), (8, 24, 16)])
def test_shapes_of_all_heads(flags, shape) -> None:
    net = ResDSN(width=4, classes=3, **flags)
    outputs = net.forward_supervised(torch.randn(2, 1, *shape))
    assert [tuple(one.shape) for one in outputs] == [(2, 3, *shape)] * (3 if net.deep_supervision else 1)


def test_auxiliary_heads_do_not_touch_the_prediction() -> None:
    net = ResDSN(width=4).eval()
    windows = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(net(windows), net.forward_supervised(windows)[0])


def test_long_residuals_matter_and_are_sums() -> None:
    torch.manual_seed(0)
    with_sum, without = ResDSN(width=4).eval(), ResDSN(width=4, long_residual=False).eval()
    without.load_state_dict(with_sum.state_dict())
    windows = torch.randn(1, 1, 16, 16, 16)
    assert not torch.allclose(with_sum(windows), without(windows))
    _zero_encoder_skips(with_sum)
    _zero_encoder_skips(without)
    torch.testing.assert_close(with_sum(windows), without(windows))


def _zero_encoder_skips(net: ResDSN) -> None:
    """Make the features that are summed into the decoder zero: batch norm with weight 0 and bias 0."""
    for sequence in (net.conv1, net.conv2.second, net.conv3.second):
        nn.init.zeros_(sequence[1].weight)
        nn.init.zeros_(sequence[1].bias)


@pytest.mark.parametrize("flags", ABLATIONS.values(), ids=ABLATIONS.keys())
def test_folding_keeps_logits_and_gradients_and_the_original(flags) -> None:
    torch.manual_seed(0)
    net = ResDSN(width=4, **flags).double()
    for _ in range(3):
        net(torch.randn(2, 1, 16, 16, 16).double())
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    folded = inference_copy(net)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not any(isinstance(part, nn.BatchNorm3d) for part in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    net.eval()
    results = []
    for one in (net, folded):
        windows = (
            torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1)).double().requires_grad_(True)
        )
        logits = one(windows)
        (gradient,) = torch.autograd.grad(logits.square().sum(), windows)
        results.append((logits, gradient))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)
