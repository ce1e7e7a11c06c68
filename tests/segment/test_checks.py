# SPDX-License-Identifier: Apache-2.0
"""What is tried with a network when it is wrapped."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import robust3d as r3
from robust3d.foundation.errors import InputError


class Net(nn.Module):
    """A convolution with a function before or after it."""

    def __init__(self, after=lambda output: output, before=lambda windows: windows) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv3d(1, 2, 3, padding=1)
        self.before, self.after = before, after

    def forward(self, windows: Tensor) -> Tensor:
        return self.after(self.convolution(self.before(windows)))


class Stubborn(nn.Dropout):
    def train(self, mode: bool = True):
        return super().train(True)


def wrap(network, **options):
    return r3.Segmenter.from_network(network, window=6, grid=r3.overlap(0.5), intensity=r3.zscore(), **options)


def mixed() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 2, 1), nn.Conv3d(2, 2, 1).double())


def halving(windows: Tensor) -> Tensor:
    coarse = functional.max_pool3d(functional.max_pool3d(windows, 2), 2)
    return torch.cat([windows, functional.interpolate(coarse, scale_factor=4)], dim=1)[:, :1]


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (mixed(), {}, r"several dtypes \(torch.float32, torch.float64\)"),
        (nn.Sequential(nn.Conv3d(1, 2, 1), Stubborn()), {}, "layer 1 stays in training mode"),
        (Net(before=halving), {}, "fails on windows of shape .1, 1, 6, 6, 6.: .*multiples of the network's stride"),
        (nn.Conv3d(4, 2, 1), {}, "it must take 1 channel"),
        (Net(before=lambda windows: windows.mul_(2)), {}, "changes its input in place"),
        (Net(lambda output: [output]), {}, "returned list"),
        (Net(lambda output: output.argmax(1, keepdim=True)), {}, "torch.int64, a mask"),
        (Net(lambda output: output[..., 1:]), {}, r"returned shape \(1, 2, 6, 6, 5\)"),
        (Net(lambda output: output / 0), {}, "NaN or infinite"),
        (Net(), {"outputs": "probabilities"}, "reach from"),
        (Net(torch.sigmoid), {"outputs": "probabilities"}, "overlapping regions of sigmoids are not supported"),
        (Net(), {"outputs": "masks"}, "not 'masks'"),
        (Net(lambda output: output.view(1, 2, 6, 6, 6)), {}, "takes one window but not two; give window_batch = 1"),
    ],
)
def test_refused(network, options, message) -> None:
    with pytest.raises(InputError, match=message):
        wrap(network, **options)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Net(lambda output: output.softmax(1)), "look like probabilities"),
        (Net(lambda output: output[:, :1].sigmoid()), "look like probabilities"),
        (Net(lambda output: functional.dropout(output, 0.5)), "differs from call to call"),
        (Net(lambda output: output - output.mean() * 20), "depends on the windows beside it"),
    ],
)
def test_warned_of(network, message) -> None:
    with pytest.warns(UserWarning, match=message):
        wrap(network)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", [{}, {"outputs": "probabilities"}])
def test_a_network_that_fits_passes_in_silence_and_is_left_as_it_was(options) -> None:
    network = Net(lambda output: output.softmax(1) if options else output).train()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    model = wrap(network, **options)
    assert model.classes == 2
    assert network.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_gradients_through_probabilities_are_those_through_logits() -> None:
    image = torch.randn(6, 7, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    label = (image > 0).long()
    logits = wrap(Net().double(), fusion="probabilities")
    probabilities = wrap(Net(lambda output: output.softmax(1)).double(), outputs="probabilities")
    for mode in ("fused", "window_mean"):
        ours, theirs = (one.loss_gradient(image, label, mode=mode) for one in (probabilities, logits))
        assert ours[0] == pytest.approx(theirs[0])
        torch.testing.assert_close(ours[1], theirs[1])
