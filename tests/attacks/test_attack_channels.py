# SPDX-License-Identifier: Apache-2.0
"""Every attack of the collection on a case of two channels: bounds, ranges and files of each channel."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from robust3d.attacks.cards import load_attack
from robust3d.attacks.square import Square
from robust3d.attacks.vafa import ChannelCodec, Codec
from robust3d.benchmarks.rehearsal import rehearse
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import zscore
from robust3d.segment.segmenter import Segmenter
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Storage, Volume
from tests.attacks.test_contract import small

NAMES = list(Collections.open().entries("attacks"))
VALIDS = ((-100.0, 240.0), (0.0, 1500.0))
LIBRARIES = ("art-", "torchattacks-")
FAST = (
    "identity",
    "random-sign",
    "ifgsm",
    "apgd-ce",
    "square",
    "vafa",
    "corruption-noise",
    "art-pgd",
    "torchattacks-pgd",
)
"""One of each algorithm; the others take minutes."""


def two_channels(classes: int = 2) -> Segmenter:
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(
        nn.Conv3d(2, 6, 5, padding=2), nn.BatchNorm3d(6), nn.Tanh(), nn.Conv3d(6, classes, 3, padding=1)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.randn(6, 2, 5, 5, 5, generator=generator) / 7)
        net[3].weight.copy_(torch.randn(classes, 6, 3, 3, 3, generator=generator) / 2)
    return Segmenter.from_network(net, window=(12, 10, 8), grid=overlap(0.5), intensity=zscore(), channels=2)


@pytest.fixture
def pipeline() -> Segmenter:
    return two_channels()


@pytest.fixture
def case(pipeline) -> Volume:
    random = np.random.default_rng(0)
    image = random.normal(70, 120, (2, 14, 12, 10)).astype(np.float32).round()
    image[1] = (image[1] * 4 + 500).round()
    label = pipeline.predict(image).mask
    label[:, :, :2] = 0
    files = (Storage(dtype="int16"), Storage(dtype="int16"))
    return Volume(image, label, np.diag([3.0, 3, 4, 1]), (3, 3, 4), "case", Storage(dtype="int16"), files)


def threat_of(attack, epsilon, valid, **changes) -> ThreatModel:
    norm = "linf" if "linf" in attack.norms else "l2"
    return ThreatModel.build(epsilon=epsilon, unit="HU" if norm == "linf" else "RMS HU", norm=norm, valid=valid)


@pytest.mark.filterwarnings("ignore:.*judges its progress")
@pytest.mark.parametrize("name", [pytest.param(one, marks=() if one in FAST else pytest.mark.slow) for one in NAMES])
def test_every_card_keeps_each_channel_to_its_bound_or_refuses(name, pipeline, case, tmp_path) -> None:
    attack = small(name)
    if name == "apgd-dlr":
        pipeline = two_channels(3)
    bounds, valid = (10.7, 42.5), VALIDS
    threat = threat_of(attack, bounds, valid)
    if name == "universal":
        with pytest.raises(InputError, match="phantoms of one channel and case case has 2"):
            attack(pipeline, case, threat)
        return
    if name.startswith(LIBRARIES):
        with pytest.raises(InputError, match="moves all channels by one epsilon"):
            attack.check(2, threat)
        bounds, valid = (10.7, 10.7), (VALIDS[0][0], VALIDS[1][1])
        threat = threat_of(attack, 10.7, valid)
        valid = (valid, valid)
    result = attack(pipeline, case, threat)
    files = result.volume.save(tmp_path / "a.nii.gz")
    stored = np.stack([np.asanyarray(nib.load(file).dataobj) for file in files])
    origin = np.stack([one.clip(*span) for one, span in zip(case.image, valid, strict=True)])
    for image in (result.volume.image, stored):
        change = np.abs(image.astype(np.float64) - origin)
        assert all(image[n].min() >= valid[n][0] and image[n].max() <= valid[n][1] for n in range(2))
        if attack.bounded and threat.norm == "linf":
            assert all(change[n].max() <= bounds[n] + 1e-4 for n in range(2))
        elif attack.bounded:
            shares = np.array(bounds).reshape(2, 1, 1, 1) / max(bounds)
            assert np.sqrt(np.mean((change / shares) ** 2)) <= max(bounds) + 1e-4
    if name != "identity":
        assert all(np.any(stored[n] != origin[n]) for n in range(2))
    largest = [np.abs(result.volume.image[n].astype(np.float64) - origin[n]).max() for n in range(2)]
    assert result.details["largest_change_by_channel"] == pytest.approx(largest)
    rehearse(attack, threat, classes=3, stages=1, channels=2)


@pytest.mark.filterwarnings("ignore:.*judges its progress")
@pytest.mark.parametrize(
    "name",
    ["random-sign", "ifgsm", "mifgsm", "nifgsm", "apgd-ce", "square", "vafa", "corruption-noise"],
)
def test_a_channel_of_epsilon_0_is_left_untouched(name, pipeline, case) -> None:
    attack = small(name)
    result = attack(pipeline, case, threat_of(attack, (0.0, 42.5), VALIDS))
    assert np.array_equal(result.volume.image[0], case.image[0].clip(*VALIDS[0]))
    assert (result.volume.image[1] != case.image[1].clip(*VALIDS[1])).any()
    assert result.details["largest_change_by_channel"][0] == 0


def test_a_second_channel_without_effect_gives_the_one_channel_attack(case) -> None:
    torch.manual_seed(0)
    one = nn.Conv3d(1, 2, 3, padding=1)
    two = nn.Conv3d(2, 2, 3, padding=1)
    with torch.no_grad():
        two.weight.zero_()
        two.weight[:, :1] = one.weight
        two.bias.copy_(one.bias)
    options = {"window": 8, "grid": overlap(0.5), "intensity": zscore()}
    single = Segmenter.from_network(one, **options)
    double = Segmenter.from_network(two, **options, channels=2)
    first = replace(case, image=case.image[0], files=())
    label = single.predict(first.image).mask
    threat = ThreatModel(epsilon=10.7, unit="HU", valid=(-100, 240))
    # Clipped, the second channel may not be constant.
    both = replace(case, image=np.stack([case.image[0], case.image[0]]), label=label)
    for name in ("fgsm", "ifgsm"):
        alone = load_attack(name)(single, replace(first, label=label), threat)
        found = load_attack(name)(double, both, threat)
        assert np.array_equal(found.volume.image[0], alone.volume.image)
        assert np.array_equal(found.volume.image[1], both.image[1].clip(-100, 240))
        assert found.trace == pytest.approx(alone.trace, rel=1e-5)


def test_square_takes_a_sign_for_each_channel(pipeline, case) -> None:
    result = Square(name="square", queries=6)(pipeline, case, ThreatModel(epsilon=3, unit="HU"))
    change = result.volume.image - case.image
    assert set(np.unique(change)) == {-3, 3}
    agree = (change[0] == change[1]).mean()
    assert 0.05 < agree < 0.95


def test_a_table_for_each_channel_is_what_each_alone_has() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand((2, 9, 8, 7), generator=generator) * 200
    table = torch.rand((2, 4, 4, 4), generator=generator) * 10 + 1
    gradient = torch.randn(clean.shape, generator=generator)
    spans = ((0.0, 200.0), (-50.0, 300.0))
    both = ChannelCodec(clean, spans, 4)
    decoded = both.decode(table)
    for number, span in enumerate(spans):
        alone = Codec(clean[number], span, 4)
        assert torch.equal(decoded[number], alone.decode(table[number]))
        found = both.table_gradient(table, decoded, gradient)[number]
        assert torch.equal(found, alone.table_gradient(table[number], decoded[number], gradient[number]))
