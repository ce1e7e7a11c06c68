# SPDX-License-Identifier: Apache-2.0
"""The compared networks against their papers: layer counts by hand, wiring, heads, gradients, folding, training."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from robust3d.defenses.learner import supervised_loss
from robust3d.networks.blocks import PreActivated
from robust3d.networks.folding import inference_copy
from robust3d.networks.hed3d import HED3D, Enlarge
from robust3d.networks.mixedresnet import MixedResNet
from robust3d.networks.registry import NETWORKS, build_deployed, build_network, count_auxiliary_heads, training_loss
from robust3d.networks.resdsn import ResDSN, count_parameters
from robust3d.networks.unet3d import UNet3D
from robust3d.networks.vnet import VNet
from robust3d.networks.voxresnet import VoxResNet

HEADS = {"res": 0, "unet3d": 0, "vnet": 0, "voxresnet": 4, "hed3d": 4}
"""Auxiliary heads where there are not two."""


def conv(kernel: int, channels_in: int, channels_out: int) -> int:
    return kernel**3 * channels_in * channels_out + channels_out


def conv_bn(channels_in: int, channels_out: int, kernel: int = 3) -> int:
    return conv(kernel, channels_in, channels_out) + 2 * channels_out


def test_unet3d_has_the_papers_number_of_parameters() -> None:
    # The paper counts 19,069,955 with 3 channels in and 3 classes out, without batch normalisation's own.
    with torch.device("meta"):
        net = UNet3D(classes=3)
    normalisation = sum(p.numel() for m in net.modules() if isinstance(m, nn.BatchNorm3d) for p in m.parameters())
    assert normalisation == 2 * (32 + 64 + 64 + 128 + 128 + 256 + 256 + 512 + 256 + 256 + 128 + 128 + 64 + 64)
    assert count_parameters(net) - normalisation + 27 * 2 * 32 == 19_069_955


@pytest.mark.parametrize("width", [2, 16])
def test_vnet_counts(width) -> None:
    w = width
    left = conv(5, 1, w) + 2 * conv(5, 2 * w, 2 * w) + 3 * sum(conv(5, n * w, n * w) for n in (4, 8, 16))
    right = conv(5, 2 * w, 2 * w) + 2 * conv(5, 4 * w, 4 * w) + 3 * sum(conv(5, n * w, n * w) for n in (8, 16))
    down = sum(conv(2, n * w, 2 * n * w) for n in (1, 2, 4, 8))
    up = sum(conv(2, a * w, b * w) for a, b in ((16, 8), (16, 4), (8, 2), (4, 1)))
    slopes = w * (1 + 2 * 2 + 3 * (4 + 8 + 16)) + w * (2 + 2 * 4 + 3 * (8 + 16))
    slopes += w * (2 + 4 + 8 + 16) + w * (8 + 4 + 2 + 1)
    with torch.device("meta"):
        net = VNet(classes=2, width=w)
    assert count_parameters(net) == left + right + down + up + slopes + conv(1, 2 * w, 2)


@pytest.mark.parametrize("width", [2, 32])
def test_voxresnet_counts(width) -> None:
    w, v, k = width, 2 * width, 3
    bn_conv = 2 * v + conv(3, v, v)
    trunk = conv(3, 1, w) + (2 * w + conv(3, w, w)) + (2 * w + conv(3, w, v)) + 2 * bn_conv + 6 * 2 * bn_conv
    classifiers = conv(3, w, k) + sum(conv(kernel, v, k) for kernel in (4, 8, 16))
    with torch.device("meta"):
        net = VoxResNet(classes=k, width=w)
    assert count_parameters(net) == trunk + classifiers


@pytest.mark.parametrize("width", [2, 32])
def test_mixedresnet_counts(width) -> None:
    w, k = width, 2
    widths = (w, 2 * w, 4 * w, 8 * w)
    encoder = sum(conv_bn(a, b) for a, b in pairwise((1, *widths)))
    blocks = sum(2 * (2 * c + conv(3, c, c)) for c in widths + widths[:3])
    decoder = sum(conv_bn(2 * c, c, kernel=4) for c in widths[:3])
    auxiliary = 2 * 64 * (2 * w * w) + 64 * (4 * w * 2 * w) + 2 * conv(1, w, k)
    with torch.device("meta"):
        net = MixedResNet(classes=k, width=w)
    assert count_parameters(net, auxiliary=False) == encoder + blocks + decoder + conv(1, w, k)
    assert count_parameters(net) - count_parameters(net, auxiliary=False) == auxiliary


@pytest.mark.parametrize("width", [2, 32])
def test_hed3d_counts(width) -> None:
    w, k = width, 3
    a, b, c, d = w, 4 * w, 8 * w, 16 * w
    levels = conv(3, 1, a) + conv(3, a, a) + conv(3, a, b) + conv(3, b, b)
    levels += conv(3, b, c) + 2 * conv(3, c, c) + conv(3, c, d) + 2 * conv(3, d, d)
    with torch.device("meta"):
        net = HED3D(classes=k, width=w)
    assert count_parameters(net) == levels + sum(conv(1, one, k) for one in (a, b, c, d)) + conv(1, 4 * k, k)


def outputs_of(net: nn.Module, windows: torch.Tensor) -> list[torch.Tensor]:
    return net.forward_supervised(windows) if hasattr(net, "forward_supervised") else [net(windows)]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_head_covers_windows_that_are_no_cubes(name) -> None:
    net = build_network(name, width=2, classes=3)
    edges = net.stride * torch.tensor([1, 3, 2])
    windows = torch.randn(2, 1, *edges)
    outputs = outputs_of(net, windows)
    assert [tuple(one.shape) for one in outputs] == [(2, 3, *edges)] * (1 + HEADS.get(name, 2))
    assert count_auxiliary_heads(name, {}) == len(outputs) - 1
    net.eval()
    assert torch.equal(net(windows), outputs_of(net, windows)[0])
    # The stride is the least that works: half of it does not come back to the size of the window.
    smaller = torch.randn(1, 1, *(net.stride * torch.tensor([1, 1, 1]) + net.stride // 2))
    try:
        assert net(smaller).shape[2:] != smaller.shape[2:]
    except RuntimeError as error:
        assert "size" in str(error)  # noqa: PT017


JOINTS = [
    ("unet3d", "cat", [("up3", "upconv3", "down3"), ("up2", "upconv2", "down2"), ("up1", "upconv1", "down1")]),
    (
        "vnet",
        "cat",
        [
            ("right4", "up4", "left4"),
            ("right3", "up3", "left3"),
            ("right2", "up2", "left2"),
            ("right1", "up1", "left1"),
        ],
    ),
    ("mixedresnet", "sum", [("up3", "deconv3", "down3"), ("up2", "deconv2", "down2"), ("up1", "deconv1", "down1")]),
    *(
        (
            name,
            join,
            [("res_conv3", "deconv3", "conv3"), ("res_conv2", "deconv2", "conv2"), ("res_conv1", "deconv1", "conv1")],
        )
        for name, join in (("resdsn", "sum"), ("fresdsn", "sum"), ("sresdsn", "none"), ("dsn", "none"), ("res", "sum"))
    ),
]


@pytest.mark.parametrize(("name", "join", "levels"), JOINTS, ids=[joint[0] for joint in JOINTS])
def test_long_connections(name, join, levels) -> None:
    torch.manual_seed(0)
    net = build_network(name, width=2)
    seen: dict[str, torch.Tensor] = {}
    for key, module in net.named_children():
        module.register_forward_hook(lambda _, args, out, key=key: seen.update({key: out.clone(), f">{key}": args[0]}))
    windows = torch.randn(2, 1, 16, 16, 32)
    whole = net(windows).detach()
    for consumer, decoded, encoded in levels:
        up, skip = seen[decoded], seen[encoded]
        joined = {"cat": lambda u, s: torch.cat([u, s], 1), "sum": torch.add, "none": lambda u, s: u}[join]
        torch.testing.assert_close(seen[f">{consumer}"], joined(up, skip))
        without = joined(up, torch.zeros_like(skip))
        hook = net.get_submodule(consumer).register_forward_pre_hook(lambda _, args, without=without: (without,))
        assert torch.allclose(net(windows), whole) == (join == "none")
        hook.remove()


@pytest.mark.parametrize("name", ["fresdsn", "sresdsn", "vnet", "voxresnet", "mixedresnet"])
def test_short_connections_are_sums(name) -> None:
    """Without its convolutions a block passes its input on, through the projection or activation that it has."""
    torch.manual_seed(0)
    net = build_network(name, width=2)
    blocks = [m for m in net.modules() if type(m).__name__ in ("ConvPair", "Stage", "PreActivated")]
    assert len(blocks) == {"fresdsn": 6, "sresdsn": 6, "vnet": 9, "voxresnet": 6, "mixedresnet": 7}[name]
    for block in blocks:
        first = next(m for m in block.modules() if isinstance(m, nn.Conv3d))
        features = torch.randn(2, first.in_channels, 4, 4, 4)
        expected = getattr(block, "project", nn.Identity())(features)
        last = getattr(block, "convolve", None) or block.second
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        found = block(features)
        expected = getattr(block, "activate", nn.Identity())(expected.expand_as(found))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["resdsn", "dsn", "res"])
def test_no_short_connections(name) -> None:
    assert not any(getattr(m, "short_residual", False) for m in build_network(name, width=2).modules())


@pytest.mark.parametrize(("kind", "reach"), [(VoxResNet, 3), (HED3D, 2)])
def test_the_finest_classifier_sees_only_its_own_scale(kind, reach) -> None:
    """Two 3x3x3 convolutions reach two voxels far; the transposed one of VoxResNet's C1 a third."""
    torch.manual_seed(0)
    net = kind(width=4).eval()
    windows = torch.randn(1, 1, 16, 16, 16, requires_grad=True)
    main, finest = net.forward_supervised(windows)[:2]
    far = {}
    for key, logits in (("main", main), ("finest", finest)):
        (gradient,) = torch.autograd.grad(logits[0, :, 8, 8, 8].square().sum(), windows, retain_graph=True)
        far[key] = int((gradient[0, 0].nonzero() - 8).abs().max())
    assert far["finest"] == reach
    assert far["main"] == 8


def test_voxresnet_sums_its_classifiers_and_hed3d_starts_at_their_mean() -> None:
    torch.manual_seed(0)
    windows = torch.randn(1, 1, 16, 16, 16)
    main, *scores = VoxResNet(width=2).forward_supervised(windows)
    torch.testing.assert_close(main, scores[0] + scores[1] + scores[2] + scores[3])
    net = HED3D(width=2, classes=3)
    main, *scores = net.forward_supervised(windows)
    torch.testing.assert_close(main, (scores[0] + scores[1] + scores[2] + scores[3]) / 4)
    nn.init.normal_(net.fuse.weight)
    expected = torch.einsum("kn,bnxyz->bkxyz", net.fuse.weight[..., 0, 0, 0], torch.cat(scores, 1))
    torch.testing.assert_close(net(windows), expected)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_enlargement_is_trilinear_inside(factor) -> None:
    scores = torch.randn(2, 3, 4, 5, 4)
    enlarged = Enlarge(factor)(scores)
    expected = interpolate(scores, scale_factor=factor, mode="trilinear")
    inner = (..., *(slice(factor // 2, -(factor // 2)),) * 3)
    assert enlarged.shape == expected.shape
    torch.testing.assert_close(enlarged[inner], expected[inner])


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_every_parameter(name) -> None:
    torch.manual_seed(0)
    net = build_network(name, width=4)
    torch.stack([one.square().mean() for one in outputs_of(net, torch.randn(2, 1, 16, 16, 16))]).sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.ndim == 1 or parameter.grad.any(), key


@pytest.mark.parametrize("name", NETWORKS)
def test_deployed_networks_keep_the_logits(name) -> None:
    torch.manual_seed(0)
    net = build_network(name, width=2).double()
    for _ in range(2):
        net(torch.randn(2, 1, 16, 16, 16).double())
    deployed = build_deployed(name, width=2).double()
    deployed.load_state_dict({key: one for key, one in net.state_dict().items() if not key.startswith("aux")})
    folded = inference_copy(deployed)
    windows = torch.randn(1, 1, 16, 32, 16).double()
    torch.testing.assert_close(folded(windows), net.eval()(windows), rtol=1e-9, atol=1e-9)
    left = sum(isinstance(m, nn.BatchNorm3d) for m in folded.modules())
    # Before an activation: one a residual block, and in VoxResNet those of conv1b, conv1c, conv4 and conv7.
    assert left == {"voxresnet": 6 + 4, "mixedresnet": 7}.get(name, 0)


class Backwards(nn.Sequential):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self[0](self[1](features))


@pytest.mark.parametrize(
    "build",
    [
        lambda: Backwards(nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3)),
        lambda: nn.Sequential(nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3, track_running_stats=False)),
        lambda: nn.Sequential(nn.ConvTranspose3d(3, 3, 2, groups=3), nn.BatchNorm3d(3)),
        lambda: PreActivated(3),
    ],
)
def test_what_cannot_be_folded_is_left_alone(build) -> None:
    torch.manual_seed(0)
    net = build()
    for _ in range(3):
        net(1 + 2 * torch.randn(2, 3, 4, 4, 4))
    net.eval()
    features = torch.randn(2, 3, 4, 4, 4)
    torch.testing.assert_close(inference_copy(net)(features), net(features))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_few_steps_lower_the_loss(name) -> None:
    torch.manual_seed(0)
    net = build_network(name, width=4)
    grid = torch.stack(torch.meshgrid(*[torch.arange(16.0)] * 3, indexing="ij"))
    label = ((grid - 7.5).square().sum(0) < 25).long().expand(2, -1, -1, -1)
    windows = label.unsqueeze(1) + 0.5 * torch.randn(2, 1, 16, 16, 16)
    weights = (0.3,) * HEADS.get(name, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = supervised_loss(net, windows, label, weights, loss=training_loss(name))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0]


def test_only_vnet_has_a_loss_of_its_own() -> None:
    assert {name for name in NETWORKS if training_loss(name) != "ce"} == {"vnet"}
    assert training_loss("vnet") == "dsc"
    assert isinstance(build_network("fresdsn", width=2), ResDSN)


def test_the_table_of_the_documentation_holds() -> None:
    text = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    assert [row[0].strip("`") for row in rows] == list(NETWORKS)
    for row in rows:
        name = row[0].strip("`")
        widths = {16: row[6], int(row[7].split("(")[1].rstrip(")")): row[7].split()[0]}
        for width, count in widths.items():
            with torch.device("meta"):
                net = build_network(name, width=width)
            assert f"{count_parameters(net):,}" == count, name
        assert [row[4], row[5], row[8]] == [str(HEADS.get(name, 2)), training_loss(name), str(net.stride)]
