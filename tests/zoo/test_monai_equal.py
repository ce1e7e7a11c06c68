# SPDX-License-Identifier: Apache-2.0
"""Prediction through robust3d against MONAI's own inferer and transforms, and one command against Python."""

import sys

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.transforms import Compose, NormalizeIntensity, ScaleIntensityRange
from torch import nn

import robust3d as r3
from robust3d.cli.app import main
from robust3d.foundation.errors import InputError
from robust3d.segment.intensity import Intensity
from robust3d.zoo.formats.transforms import compose_intensity
from tests.zoo.foreign import blocks, unet, volume, write_bundle, write_case


# Of the volumes, one is smaller than a window along two axes.
@pytest.mark.parametrize("shape", [(21, 18, 20), (12, 23, 9)])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
@pytest.mark.parametrize("mode", ["constant", "gaussian"])
def test_fused_logits_are_those_of_the_inferer(mode, overlap, shape) -> None:
    network, image = unet(), volume(shape)
    inferer = SlidingWindowInferer(roi_size=16, overlap=overlap, mode=mode, cval=0.25)
    model = r3.from_monai(network, inferer, intensity=r3.unit_window(-57, 164))
    scaled = ScaleIntensityRange(-57, 164, 0, 1, clip=True)(torch.from_numpy(image)[None])
    with torch.no_grad():
        expected = inferer(scaled[None], network)[0]
    torch.testing.assert_close(model.probabilities(image), expected.as_tensor(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_probabilities_are_averaged_as_the_inferer_does(channels) -> None:
    last = nn.Sigmoid() if channels == 1 else nn.Softmax(dim=1)
    network, image = nn.Sequential(unet(channels), last), volume()
    inferer = SlidingWindowInferer(roi_size=(16, 16, 16), overlap=0.5, mode="gaussian")
    model = r3.from_monai(network, inferer, intensity=Intensity(offset=0, scale=100), outputs="probabilities")
    with torch.no_grad():
        expected = inferer(torch.from_numpy(image)[None, None] / 100, network)[0]
    torch.testing.assert_close(model.probabilities(image)[-channels:], expected, atol=1e-5, rtol=0)


def test_one_sigmoid_of_logits_is_foreground_where_positive() -> None:
    network, image = unet(1), volume()
    inferer = SlidingWindowInferer(roi_size=(16, 16, 16), overlap=0.5)
    model = r3.from_monai(network, inferer, intensity=Intensity(offset=0, scale=100))
    with torch.no_grad():
        expected = inferer(torch.from_numpy(image)[None, None] / 100, network)[0, 0]
    mask = model.predict(image).mask
    assert 0 < mask.mean() < 1
    np.testing.assert_array_equal(mask, expected.numpy() > 0)


@pytest.mark.parametrize(
    "transforms",
    [
        [("ScaleIntensityRange", {"a_min": -57, "a_max": 164, "b_min": -1, "b_max": 1, "clip": True})],
        [("ScaleIntensityRange", {"a_min": -57, "a_max": 164, "b_min": 0.5, "b_max": 3})],
        [("NormalizeIntensity", {})],
        [("NormalizeIntensity", {"subtrahend": 30.0, "divisor": 50.0})],
        [
            ("ScaleIntensityRange", {"a_min": -20, "a_max": 90, "b_min": 0, "b_max": 1, "clip": True}),
            ("NormalizeIntensity", {}),
        ],
        [
            ("NormalizeIntensity", {"subtrahend": 30.0, "divisor": 50.0}),
            ("ScaleIntensityRange", {"a_min": -0.5, "a_max": 1, "b_min": 0, "b_max": 2, "clip": True}),
            ("NormalizeIntensity", {"subtrahend": 1.0, "divisor": 2.0}),
        ],
    ],
    ids=lambda steps: "+".join(name for name, _ in steps),
)
def test_intensity_is_that_of_the_transforms(transforms) -> None:
    image = torch.from_numpy(volume())
    kinds = {"ScaleIntensityRange": ScaleIntensityRange, "NormalizeIntensity": NormalizeIntensity}
    expected = Compose([kinds[name](**values) for name, values in transforms])(image[None])[0]
    found = compose_intensity(transforms, "test").normalise(image)
    torch.testing.assert_close(found, expected.as_tensor().float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roi_size": (16, 16, -1)}, "a window is one or three positive whole numbers"),
        ({"overlap": (0.5, 0.5, 0.25)}, "it must be one number, the same for all axes"),
        ({"mode": "gaussian", "sigma_scale": 0.2}, "sigma_scale 0.2"),
        ({"padding_mode": "reflect"}, "pads with a constant only"),
        ({"with_coord": True}, "with_coord"),
    ],
)
def test_other_inferers_are_refused(options, message) -> None:
    inferer = SlidingWindowInferer(**{"roi_size": 16, **options})
    with pytest.raises(InputError, match=message):
        r3.from_monai(unet(), inferer, intensity=r3.zscore())


def test_an_inferer_without_windows_is_refused() -> None:
    with pytest.raises(InputError, match=r"is a SimpleInferer; robust3d reproduces SlidingWindowInferer"):
        r3.from_monai(unet(), SimpleInferer(), intensity=r3.zscore())


def test_one_command_and_ten_lines_of_python_make_the_same_voxels(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path)
    write_bundle(tmp_path / "spleen", unet())
    command = next(line for line in blocks("sh")[0].splitlines() if line.startswith("robust3d attack"))
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    script = next(block for block in blocks("python") if "from_monai" in block)
    exec(compile(script, "docs/models.md", "exec"), {})
    ours = r3.read_volume(tmp_path / "adversarial.nii.gz").image
    theirs = r3.read_volume(tmp_path / "out" / "adversarial.nii.gz").image
    np.testing.assert_array_equal(ours, theirs)
    change = np.abs(ours - np.clip(r3.read_volume(tmp_path / "ct.nii.gz").image, -100, 240)).max()
    assert change == pytest.approx(10.2, abs=1e-3)
