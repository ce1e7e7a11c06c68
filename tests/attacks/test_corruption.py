# SPDX-License-Identifier: Apache-2.0
"""Corruptions: each against the closed form that its severity stands for."""

import sys
from dataclasses import replace
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.stats import norm

from robust3d.attacks.cards import load_attack
from robust3d.attacks.corruption import SEVERITIES, Corruption, Kind
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.segment.intensity import unit_window
from robust3d.threat.model import ThreatModel

pytest.importorskip("monai")

KINDS = get_args(Kind)
THREAT = ThreatModel(norm="linf", epsilon=10.7, unit="HU", valid=(-100, 240))
OPEN = replace(THREAT, valid=None)

every = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def _torchio_for_ghosts(request) -> None:
    callspec = getattr(request.node, "callspec", None)
    if "ghost" in request.node.name or (callspec and callspec.params.get("kind") == "ghosting"):
        pytest.importorskip("torchio")


@pytest.fixture
def degraded(segmenter, volume):
    """Return the image that a corruption makes of an image, by default without a valid range."""
    # A z-score of its own would refuse images of one value.
    segmenter = replace(segmenter, intensity=unit_window(-100, 240))

    def apply(kind, image, severity=3, threat=OPEN, seed=0, spacing=(3.0, 3.0, 4.0)) -> np.ndarray:
        case = replace(volume, image=image.astype(np.float32), label=np.zeros(image.shape, np.uint8), spacing=spacing)
        return Corruption(name="c", kind=kind, severity=severity)(segmenter, case, threat, seed).volume.image

    return apply


@pytest.fixture
def smooth() -> np.ndarray:
    """Soft tissue between -50 and 190 HU with structure of a few voxels."""
    axes = np.meshgrid(*(np.arange(length) for length in (24, 20, 16)), indexing="ij")
    return sum(40 * np.sin(axis / step) for axis, step in zip(axes, (1.7, 2.1, 1.3), strict=True)) + 70


def root_mean_square(change: np.ndarray) -> float:
    return float(np.sqrt(np.square(change.astype(np.float64)).mean()))


def test_each_kind_has_a_card_and_five_rising_severities() -> None:
    cards = {name for name in Collections.open().entries("attacks") if name.startswith("corruption-")}
    assert cards == {f"corruption-{kind.replace('_', '-')}" for kind in KINDS}
    assert set(SEVERITIES) == set(KINDS)
    for name in cards:
        attack = load_attack(name)
        assert attack.severity == 3
        assert name == f"corruption-{attack.kind.replace('_', '-')}"
        assert not attack.bounded
        levels = [load_attack(name, severity=severity).settings()["level"] for severity in range(1, 6)]
        assert levels == sorted(set(levels), reverse=attack.kind == "resolution")


@every
def test_change_grows_with_severity(degraded, smooth, kind) -> None:
    sizes = [root_mean_square(degraded(kind, smooth, severity) - smooth) for severity in range(1, 6)]
    assert sizes[0] > 0.5
    assert all(small < large for small, large in pairwise(sizes))


@every
@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_range_and_storage_hold_and_the_true_distance_is_told(segmenter, volume, kind, storage) -> None:
    attack = Corruption(name="c", kind=kind, severity=5)
    threat = replace(THREAT, storage=storage)
    adversarial = attack(segmenter, volume, threat)
    image, clean = adversarial.volume.image, volume.image.clip(-100, 240)
    assert image.dtype == np.float32
    assert image.min() >= -100
    assert image.max() <= 240
    assert (storage == "float32") == bool((image != np.rint(image)).any())
    assert adversarial.distance == pytest.approx(np.abs(image.astype(np.float64) - clean).max())
    assert adversarial.distance > THREAT.epsilon
    assert (adversarial.gradients, adversarial.queries) == (0, 0)
    unbounded = attack(segmenter, volume, replace(threat, epsilon=0)).volume.image
    assert np.array_equal(unbounded, image)


@every
def test_seed_alone_decides_what_is_random(degraded, smooth, kind) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    first = degraded(kind, smooth, seed=5)
    torch.manual_seed(2)
    np.random.seed(2)
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    again, other = degraded(kind, smooth, seed=5), degraded(kind, smooth, seed=6)
    assert torch.equal(torch.random.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) != (kind in ("noise", "bias_field"))


@every
def test_clean_volume_and_model_are_left_as_they_were(segmenter, volume, kind) -> None:
    image, net = volume.image.copy(), segmenter.network.train()
    Corruption(name="c", kind=kind)(segmenter, volume, THREAT)
    assert np.array_equal(volume.image, image)
    assert all(module.training for module in net)


@pytest.mark.parametrize("severity", range(1, 6))
def test_noise_has_its_standard_deviation_in_hu(degraded, severity) -> None:
    image = np.full((24, 24, 24), 70.0)
    change = degraded("noise", image, severity, seed=severity) - 70
    sigma = SEVERITIES["noise"][severity - 1]
    assert change.std() == pytest.approx(sigma, rel=0.03)
    assert abs(change.mean()) < 4 * sigma / np.sqrt(change.size)
    assert abs(np.corrcoef(change[1:].ravel(), change[:-1].ravel())[0, 1]) < 0.04


def test_air_far_below_the_valid_range_stays_air_under_noise(degraded) -> None:
    assert (degraded("noise", np.full((8, 8, 8), -1000.0), 5, THREAT) == -100).all()


@pytest.mark.parametrize("severity", range(1, 6))
def test_blur_spreads_a_point_by_its_width_in_mm_along_each_axis(degraded, severity) -> None:
    image = np.zeros((41, 31, 21))
    image[20, 15, 10] = 1000
    spacing = (0.8, 1.5, 3.0)
    spread = degraded("blur", image, severity, spacing=spacing).astype(np.float64)
    assert spread.sum() == pytest.approx(1000, rel=1e-3)
    sigma = SEVERITIES["blur"][severity - 1]
    for axis, step in enumerate(spacing):
        places = (np.arange(image.shape[axis]) - image.shape[axis] // 2) * step
        profile = spread.sum(tuple({0, 1, 2} - {axis})) / spread.sum()
        # What of a Gaussian falls into each voxel; the kernel ends at 4 sigma.
        expected = norm.cdf(places + step / 2, scale=sigma) - norm.cdf(places - step / 2, scale=sigma)
        np.testing.assert_allclose(profile, expected, atol=2e-4)


def test_blur_continues_the_border(degraded) -> None:
    np.testing.assert_allclose(degraded("blur", np.full((9, 8, 7), -1000.0), 5), -1000, rtol=1e-3)


def test_half_resolution_averages_pairs(degraded) -> None:
    axis = np.arange(16)
    alternating = np.broadcast_to(np.where(axis % 2, 50.0, -50.0)[:, None, None], (16, 12, 8))
    np.testing.assert_allclose(degraded("resolution", alternating, 3), 0, atol=1e-4)
    ramp = np.broadcast_to(10.0 * axis[:, None, None], (16, 12, 8))
    np.testing.assert_allclose(degraded("resolution", ramp, 3)[1:-1], ramp[1:-1], atol=1e-3)


@pytest.mark.parametrize("threat", [OPEN, THREAT], ids=["open", "clipped"])
def test_contrast_is_gamma_between_the_extremes(degraded, volume, threat) -> None:
    clean = volume.image if threat is OPEN else volume.image.clip(-100, 240)
    low, width = clean.min(), np.ptp(clean)
    expected = ((clean - low) / width) ** 1.5 * width + low
    np.testing.assert_allclose(degraded("contrast", volume.image, 3, threat), expected, atol=1e-2)


def test_bias_field_is_a_cubic_that_multiplies_whatever_the_image(degraded, smooth) -> None:
    def field(image: np.ndarray, threat: ThreatModel, base: float, severity: int) -> np.ndarray:
        return np.log((degraded("bias_field", image, severity, threat) - base) / (image - base))

    wide = replace(THREAT, valid=(-100, 5000))
    one = field(smooth, wide, -100, 3)
    grids = np.meshgrid(*(np.linspace(-1, 1, length) for length in smooth.shape), indexing="ij")
    powers = [(i, j, k) for i in range(4) for j in range(4 - i) for k in range(4 - i - j)]
    basis = np.stack([grids[0] ** i * grids[1] ** j * grids[2] ** k for i, j, k in powers], -1).reshape(-1, 20)
    fit = basis @ np.linalg.lstsq(basis, one.ravel(), rcond=None)[0]
    assert np.abs(one.ravel() - fit).max() < 1e-4
    assert one.std() > 0.05
    np.testing.assert_allclose(field(smooth, wide, -100, 5), 2 * one, atol=1e-4)


def test_ghosts_are_lines_missing_from_k_space(degraded, smooth) -> None:
    spectrum = np.fft.fftshift(np.fft.fftn(smooth))
    kept = np.ones(smooth.shape[1])
    kept[::4] = 1 - 0.3
    kept[smooth.shape[1] // 2] = 1
    expected = np.fft.ifftn(np.fft.ifftshift(spectrum * kept[:, None])).real
    np.testing.assert_allclose(degraded("ghosting", smooth, 3), expected, atol=1e-2)


def test_noise_in_another_unit_is_refused(segmenter, volume) -> None:
    with pytest.raises(InputError, match="noise in HU and the threat model is in intensity; use another kind"):
        load_attack("corruption-noise")(segmenter, volume, ThreatModel(epsilon=0.1, unit="intensity"))


@pytest.mark.parametrize(
    ("kind", "module", "package"), [("blur", "monai.transforms", "monai"), ("ghosting", "torchio", "torchio")]
)
def test_missing_library_is_named_with_the_command(segmenter, volume, monkeypatch, kind, module, package) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=f"needs {package}.*pip install 'robust3d\\[corruptions\\]'"):
        Corruption(name="c", kind=kind)(segmenter, volume, THREAT)


@pytest.mark.parametrize("changes", [{"severity": 0}, {"severity": 6}, {"kind": "fog"}])
def test_unknown_severity_or_kind_is_refused(changes) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        load_attack("corruption-blur", **changes)
