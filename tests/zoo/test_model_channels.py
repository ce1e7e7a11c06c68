# SPDX-License-Identifier: Apache-2.0
"""Models of two input channels in every format, against the network itself and its channels one by one."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import NormalizeIntensity, ScaleIntensityRange
from torch import Tensor, nn

import robust3d as r3
from robust3d.foundation.cards import check_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.segment.channel_intensity import ChannelIntensity
from robust3d.segment.intensity import Intensity, zscore
from robust3d.volume.volume import Volume
from robust3d.zoo.formats.card import ForeignIntensity
from robust3d.zoo.formats.inferer import from_monai
from robust3d.zoo.formats.transforms import compose_intensity
from tests.zoo.foreign import write_bundle
from tests.zoo.nnunet_folder import labels, plans, write_results

CARD = """
[model]
format = "{format}"
{file}

[network]
{network}
channels = 2

[inference]
window = [16, 16, 16]
window_batch = 1

[intensity]
scheme = "zscore"
"""
NETS = """
from monai.networks.nets import UNet

def build():
    return UNet(spatial_dims=3, in_channels=2, out_channels=2, channels=[4, 8], strides=[2])
"""


def unet() -> nn.Module:
    torch.manual_seed(4)
    return UNet(spatial_dims=3, in_channels=2, out_channels=2, channels=[4, 8], strides=[2]).eval()


def image() -> np.ndarray:
    image = np.random.default_rng(5).normal(40, 60, (2, 16, 16, 16)).astype(np.float32)
    image[1] = 3 * image[1] + 700
    return image


def standardised(values: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(values)
    return (tensor - tensor.mean((1, 2, 3), True)) / tensor.std((1, 2, 3), correction=0, keepdim=True)


@pytest.mark.parametrize("kind", ["state-dict", "torchscript", "torch-export", "factory"])
def test_a_card_says_how_many_channels(kind, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "zoo" / "mri"
    folder.mkdir(parents=True)
    network, example = unet(), torch.zeros(1, 2, 16, 16, 16)
    name, file = "", 'file = "unet.pt"'
    if kind == "state-dict":
        name = 'name = "monai:UNet"\noptions = { channels = [4, 8], strides = [2] }'
    if kind == "torchscript":
        torch.jit.trace(network, example).save(folder / "unet.pt")
    elif kind == "torch-export":
        file = 'file = "unet.pt2"'
        torch.export.save(torch.export.export(network, (example,)), folder / "unet.pt2")
    else:
        torch.save(network.state_dict(), folder / "unet.pt")
    if kind == "factory":
        (tmp_path / "lab_of_mri.py").write_text(NETS)
        monkeypatch.syspath_prepend(tmp_path)
        file += '\nfactory = "lab_of_mri:build"'
    text = CARD.format(format=kind, file=file, network=name)
    (folder / "card.toml").write_text(text)
    collections = Collections.open([tmp_path])
    model = r3.load_model("mri", collections=collections)
    assert (model.channels, model.classes, model.settings()["channels"]) == (2, 2, 2)
    with torch.no_grad():
        expected = network(standardised(image())[None])[0]
    torch.testing.assert_close(model.probabilities(image()), expected, atol=1e-4, rtol=1e-4)
    (folder / "card.toml").write_text(text.replace("channels = 2", "channels = 1"))
    with pytest.raises(InputError, match=r"channel|has shape"):
        r3.load_model("mri", collections=collections)


def test_a_network_of_ours_has_one_channel(tmp_path) -> None:
    network = 'name = "resdsn"\noptions = { width = 2 }'
    (tmp_path / "card.toml").write_text(CARD.format(format="state-dict", file='file = "unet.pt"', network=network))
    (tmp_path / "unet.pt").touch()
    with pytest.raises(InputError, match=r"'resdsn' takes one channel .* network.channels = 2"):
        r3.load_model(str(tmp_path / "card.toml"))


def test_a_bundle_of_two_channels(tmp_path) -> None:
    torch.manual_seed(4)
    network = UNet(spatial_dims=3, in_channels=2, out_channels=2, channels=[8, 16], strides=[2]).eval()
    bundle = write_bundle(tmp_path / "b", network, '"in_channels": 1', '"in_channels": 2')
    model = r3.load_model(str(bundle))
    assert model.channels == 2
    assert isinstance(model.intensity, ChannelIntensity)
    assert model.predict(image()).mask.shape == (16, 16, 16)


def test_a_monai_inferer_of_two_channels() -> None:
    network, inferer = unet(), SlidingWindowInferer(roi_size=(8, 8, 8), overlap=0.5, mode="gaussian")
    model = from_monai(network, inferer, intensity=zscore(), channels=2)
    with torch.no_grad():
        expected = inferer(standardised(image())[None], network)[0]
    torch.testing.assert_close(model.probabilities(image()), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"channel_wise": True},
        {"channel_wise": True, "subtrahend": [50.0, 700.0], "divisor": [20.0, 180.0]},
        {"subtrahend": 50.0, "divisor": 20.0},
    ],
)
def test_monais_transforms_by_channel(options) -> None:
    steps = [("ScaleIntensityRange", {"a_min": -100, "a_max": 900, "b_min": 0, "b_max": 2, "clip": True})]
    fixed = {key: value for key, value in options.items() if key != "channel_wise"}
    scaled = ScaleIntensityRange(**steps[0][1])(image())
    expected = NormalizeIntensity(**options)(scaled)
    scheme = compose_intensity([*steps, ("NormalizeIntensity", options)], "here", 2)
    found = scheme.normalise(torch.from_numpy(image()))
    torch.testing.assert_close(found, torch.as_tensor(np.asarray(expected)), atol=1e-4, rtol=1e-4)
    assert scheme.per_case == (not fixed)


def test_statistics_of_all_channels_together_are_refused() -> None:
    with pytest.raises(InputError, match="deviation of all 2 channels together"):
        compose_intensity([("NormalizeIntensity", {})], "here", 2)
    wrong = {"channel_wise": True, "subtrahend": [1.0, 2.0, 3.0], "divisor": [1.0, 2.0, 3.0]}
    with pytest.raises(InputError, match="has 3 entries and the network 2 channels"):
        compose_intensity([("NormalizeIntensity", wrong)], "here", 2)
    assert compose_intensity([("NormalizeIntensity", {"channel_wise": True})], "here") == Intensity()


def test_lists_of_a_card_are_one_number_a_channel() -> None:
    content = {"scheme": "fixed", "low": [-5.0, 0.0], "high": 9.0, "offset": [1.0, 2.0], "scale": 4.0}
    scheme = check_card(content, ForeignIntensity, where="card").build()
    assert scheme == ChannelIntensity((Intensity(-5, 9, 1, 4), Intensity(0, 9, 2, 4)))
    with pytest.raises(InputError, match=r"intensity.low 2 and intensity.offset 3"):
        check_card(content | {"offset": [1.0, 2.0, 3.0]}, ForeignIntensity, where="card").build()


def test_an_nnunet_folder_treats_each_channel_by_its_own_scheme(tmp_path: Path) -> None:
    plan = plans(normalization_schemes=["CTNormalization", "ZScoreNormalization"], use_mask_for_norm=[False, False])
    own = {"mean": 700.0, "std": 90.0, "percentile_00_5": 300.0, "percentile_99_5": 1100.0}
    plan["foreground_intensity_properties_per_channel"]["1"] = own
    channels = {"channel_names": {"0": "CT", "1": "PET"}}
    model = r3.load_model(str(write_results(tmp_path / "two", plan=plan, dataset=labels() | channels)))
    assert (model.channels, model.classes) == (2, 3)
    array = np.random.default_rng(0).normal(60, 80, (2, 14, 15, 10)).astype(np.float32)
    array[1] = 4 * array[1] + 500
    array[:, :3] = 0
    case = Volume(array, np.zeros(array.shape[1:], np.uint8), np.diag([1.2, 1.2, 2.5, 1]), (1.2, 1.2, 2.5), "case")
    seen = model.place(case).on_grid(array)
    for number, scheme in enumerate(plan["configurations"]["3d_fullres"]["normalization_schemes"]):
        single = copy.deepcopy(plan)
        single["configurations"]["3d_fullres"] |= {"normalization_schemes": [scheme], "use_mask_for_norm": [False]}
        alone = r3.load_model(str(write_results(tmp_path / str(number), plan=single)))
        torch.testing.assert_close(seen[number], alone.place(case.channel(number)).on_grid(array[number]))
    prediction = model.place(case).predict(array)
    assert prediction.mask.shape == case.shape
    with pytest.raises(InputError, match="the model takes 2 channels and the volume has 1"):
        model.place(case).predict(array[0])


def test_an_nnunet_folder_with_a_mask_for_some_channels_is_refused(tmp_path: Path) -> None:
    plan = plans(normalization_schemes=["ZScoreNormalization"] * 2, use_mask_for_norm=[True, False])
    folder = write_results(tmp_path, plan=plan, dataset=labels() | {"channel_names": {"0": "T1", "1": "T2"}})
    with pytest.raises(InputError, match="some channels are normalised within the mask and others not"):
        r3.load_model(str(folder))
