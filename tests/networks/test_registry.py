# SPDX-License-Identifier: Apache-2.0
"""Networks by name and as the section ``network`` of cards, those of MONAI included."""

import sys

import pytest
import torch

from robust3d.foundation.cards import check_card
from robust3d.foundation.errors import InputError
from robust3d.networks.card import NetworkCard
from robust3d.networks.folding import inference_copy
from robust3d.networks.registry import NETWORKS, build_deployed, build_network, network_options
from robust3d.networks.resdsn import ResDSN
from robust3d.networks.weights import load_weights, save_weights
from robust3d.segment.network import check_stride

UNET = {"channels": [2, 4, 8], "strides": [2, 2], "num_res_units": 1}

ABLATIONS = {
    "fresdsn": {"short_residual": True},
    "sresdsn": {"short_residual": True, "long_residual": False},
    "dsn": {"long_residual": False},
    "res": {"deep_supervision": False},
}


@pytest.mark.parametrize(("name", "flags"), ABLATIONS.items())
def test_ablations_are_resdsn_with_flags(name, flags) -> None:
    torch.manual_seed(0)
    named = build_network(name, width=2)
    torch.manual_seed(0)
    flagged = ResDSN(width=2, **flags)
    windows = torch.randn(1, 1, 16, 8, 8)
    found, expected = named.forward_supervised(windows), flagged.forward_supervised(windows)
    assert len(found) == len(expected)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resdsm", {}, "unknown network 'resdsm'; did you mean 'resdsn'?"),
        ("monia:UNet", {}, "unknown network 'monia:UNet'; known: dsn, fresdsn, hed3d, mixedresnet, monai:CLASS, res"),
        ("resdsn", {"widht": 3}, "network 'resdsn' has no option 'widht'; did you mean 'width'?"),
        ("fresdsn", {"short_residual": False}, "network 'fresdsn' has no option 'short_residual'; known: classes"),
        ("vnet", {"deep_supervision": True}, "network 'vnet' has no option 'deep_supervision'; known: classes, width"),
        ("unet3d", {"width": "ten"}, "network 'unet3d' cannot be built from {'width': 'ten'}: "),
        ("monai:UNet", {"width": 3}, "network 'monai:UNet' has no option 'width'; known: classes, options"),
        ("monai:Unet", {}, "MONAI has no segmentation network for 'monai:Unet'; did you mean 'monai:UNet'?"),
        ("monai:Conv", {}, "MONAI has no segmentation network for 'monai:Conv'; "),
        ("monai:UNet", {"options": {}}, "network 'monai:UNet' needs the options channels, strides; give them in"),
        (
            "monai:UNet",
            {"options": UNET | {"chanels": [1]}},
            "network 'monai:UNet' has no option 'chanels'; did you mean 'channels'?",
        ),
        (
            "monai:UNet",
            {"options": UNET | {"out_channels": 3}},
            "option 'out_channels' of network 'monai:UNet' follows",
        ),
        (
            "monai:UNet",
            {"options": UNET | {"strides": [2]}},
            "MONAI refuses the options {'channels': [2, 4, 8], 'strides': [2], 'num_res_units': 1} of network",
        ),
        ("monai:UNet", {"options": UNET | {"strides": 2}}, "MONAI refuses the options "),
        ("monai:UNet", {"options": UNET | {"act": "softmex"}}, "MONAI refuses the options "),
    ],
)
def test_wrong_names_and_options_are_refused_in_one_sentence(name, options, message) -> None:
    with pytest.raises(InputError) as caught:
        build_network(name, **options)
    assert str(caught.value).startswith(message)


def test_without_monai_the_command_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(InputError, match=r"'monai:UNet' needs MONAI, .* run: pip install 'robust3d\[monai\]'$"):
        build_network("monai:UNet", options=UNET)


def read(**entries: object) -> NetworkCard:
    card = check_card(entries, NetworkCard, where="card")
    card.check()
    return card


def test_settings_are_those_that_the_network_has() -> None:
    assert read(name="resdsn", width=4).settings() == {
        "name": "resdsn",
        "width": 4,
        "classes": 2,
        "short_residual": False,
        "long_residual": True,
    }
    assert read(name="dsn", width=4, classes=3).settings() == {"name": "dsn", "width": 4, "classes": 3}
    assert read(name="monai:UNet", options=UNET).settings() == {"name": "monai:UNet", "classes": 2, "options": UNET}


def test_listing_and_identity_do_not_import_monai(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    assert read(name="monai:SegResNet").settings() == {"name": "monai:SegResNet", "classes": 2, "options": {}}
    assert read(name="monai:SegResNet").title == "monai:SegResNet"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"name": "vnet", "width": 4, "long_residual": True},
            "network.long_residual does not belong to network 'vnet', whose options are classes, width; leave it out",
        ),
        ({"name": "dsn", "width": 4, "short_residual": False}, "network.short_residual does not belong to network"),
        ({"name": "unet3d", "width": 4, "options": {}}, "network.options does not belong to network 'unet3d'"),
        ({"name": "monai:UNet", "width": 4}, "network.width does not belong to network 'monai:UNet', whose options"),
        ({"name": "hed3d"}, "key 'network.width' is missing, which the network 'hed3d' needs"),
        ({"name": "hed4d", "width": 4}, "unknown network 'hed4d'; did you mean 'hed3d'?"),
    ],
)
def test_options_of_other_networks_are_refused(entries, message) -> None:
    with pytest.raises(ValueError, match="network") as caught:
        read(**entries)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "options", "stride"),
    [("UNet", UNET, 4), ("SegResNet", {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, 1)],
)
def test_monai_networks_are_those_that_monai_builds(tmp_path, name, options, stride) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    torch.manual_seed(0)
    direct = getattr(nets, name)(spatial_dims=3, in_channels=1, out_channels=3, **options).eval()
    save_weights(direct, tmp_path / "a.safetensors")
    ours = build_deployed(f"monai:{name}", classes=3, options=options)
    load_weights(ours, tmp_path / "a.safetensors")
    direct.load_state_dict({key: one.half().to(one.dtype) for key, one in direct.state_dict().items()})
    windows = torch.randn(2, 1, 8, 12, 16)
    assert torch.equal(ours.eval()(windows), direct(windows))
    assert getattr(ours, "stride", 1) == stride


def test_a_monai_network_with_batch_normalisation_keeps_its_logits_when_folded() -> None:
    pytest.importorskip("monai")
    torch.manual_seed(0)
    net = build_network("monai:UNet", options=UNET | {"norm": "batch"})
    for _ in range(3):
        net(torch.randn(2, 1, 8, 8, 8))
    windows = torch.randn(1, 1, 8, 12, 16)
    torch.testing.assert_close(inference_copy(net)(windows), net.eval()(windows))
    with pytest.raises(InputError, match="each edge must be a multiple of 4"):
        check_stride(net, (8, 8, 10))


# DSN and Res have the layers of ResDSN, only joined otherwise.
@pytest.mark.parametrize("other", [name for name in NETWORKS if name not in ("resdsn", "res", "dsn")])
def test_weights_of_another_architecture_name_a_layer_and_shapes(tmp_path, other) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(build_network(other, width=2), path)
    network = build_deployed("resdsn", width=2)
    with pytest.raises(InputError, match=r"layer '[\w.]+'.* shape \(\d+.*network of its card") as caught:
        load_weights(network, path)
    assert "\n" not in str(caught.value)


def test_every_network_has_a_width_and_classes() -> None:
    assert all({"width", "classes"} <= network_options(name).keys() for name in NETWORKS)
