# SPDX-License-Identifier: Apache-2.0
"""Input transforms against scipy and a formula, and attacks whose gradient passes through them."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import robust3d as r3
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.segment.intensity import hu_window
from robust3d.segment.transform import BitDepth, Smoothing
from robust3d.segment.transformed import Transformed
from robust3d.volume.volume import Volume

LOW, HIGH = -100.0, 240.0


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(9, 8, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 150 + 70


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.7])
def test_smoothing_is_that_of_scipy(image, sigma) -> None:
    expected = gaussian_filter(np.clip(image.numpy(), LOW, HIGH), sigma, mode="nearest", truncate=4.0)
    np.testing.assert_allclose(Smoothing(sigma, LOW, HIGH)(image).numpy(), expected, rtol=1e-10, atol=1e-9)


def test_the_gradient_of_smoothing_is_its_transpose(image) -> None:
    """<S u, v> = <u, S' v>, where no voxel is truncated and S is linear."""
    inside = image.clamp(LOW + 1, HIGH - 1)
    cotangent = torch.randn(image.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    smoothing = Smoothing(1.0, LOW, HIGH)
    found = smoothing.backward(inside, cotangent)
    assert float((inside * found).sum()) == pytest.approx(float((smoothing(inside) * cotangent).sum()), rel=1e-10)
    outside = smoothing.backward(image, cotangent)
    assert torch.equal(outside == 0, (image < LOW) | (image > HIGH))


@pytest.mark.parametrize("sigma", [0.5, 1.5, 2.0])
@pytest.mark.parametrize("bound", [LOW, HIGH])
def test_flat_voxels_at_a_bound_keep_their_gradient(sigma, bound) -> None:
    flat, smoothing = torch.full((9, 8, 11), bound), Smoothing(sigma, LOW, HIGH)
    shown = smoothing(flat)
    torch.testing.assert_close(shown, flat)
    passed = hu_window(LOW, HIGH).frozen_at(torch.tensor([[LOW, HIGH]])).backward(shown, torch.ones_like(flat))
    assert (smoothing.backward(flat, passed) != 0).all()


def test_a_slice_is_no_volume(wrapped) -> None:
    hidden, _ = wrapped('kind = "smoothing"\nsigma = 1.0')
    with pytest.raises(InputError, match="a volume has three axes"):
        hidden.predict(np.zeros((20, 19), np.float32))


def test_a_transform_needs_a_window(wrapped, tmp_path) -> None:
    wrapped('kind = "smoothing"\nsigma = 1.0')
    card = tmp_path / "zoo" / "hidden" / "card.toml"
    text = card.read_text()
    for old, message in (
        ("high = 240.0", "needs both low and high"),
        ("low = -100.0\nhigh = 240.0", "transform needs"),
    ):
        assert old in text
        card.write_text(text.replace(old, ""))
        with pytest.raises(InputError, match=message):
            r3.load_model("hidden", device="cpu", collections=Collections.open([tmp_path]))


def test_bit_depth_by_hand() -> None:
    values = torch.tensor([-300.0, -100.0, -44.0, -43.0, 12.0, 240.0, 500.0])
    # Two bits: four levels, 340 / 3 apart.
    expected = torch.tensor([-100.0, -100.0, -100.0, 40 / 3, 40 / 3, 240.0, 240.0])
    transform = BitDepth(2, LOW, HIGH)
    torch.testing.assert_close(transform(values), expected)
    cotangent = torch.arange(7.0) + 1
    assert transform.backward(values, cotangent).tolist() == [0, 2, 3, 4, 5, 6, 0]


@pytest.mark.parametrize("transform", [lambda: BitDepth(0, LOW, HIGH), lambda: Smoothing(0.0, LOW, HIGH)])
def test_bad_settings_are_refused(transform) -> None:
    with pytest.raises(InputError, match="not 0"):
        transform()


@pytest.fixture
def wrapped(tiny_zoo, tmp_path):
    """Make ``tiny`` behind a transform, with weights in the folder of another model."""

    def load(section: str):
        for name in ("tiny", "hidden"):
            (tmp_path / "zoo" / name).mkdir(parents=True, exist_ok=True)
        for stage in ("coarse", "fine"):
            file = f"{stage}.safetensors"
            (tmp_path / "zoo" / "tiny" / file).write_bytes((tiny_zoo / "zoo" / "tiny" / file).read_bytes())
        card = (tiny_zoo / "zoo" / "tiny" / "card.toml").read_text()
        (tmp_path / "zoo" / "tiny" / "card.toml").write_text(card)
        moved = card.replace('weights = "', 'weights = "tiny/').replace(
            "[training]", f"[transform]\n{section}\n[training]"
        )
        (tmp_path / "zoo" / "hidden" / "card.toml").write_text(moved)
        collections = Collections.open([tmp_path])
        return tuple(r3.load_model(name, device="cpu", collections=collections) for name in ("hidden", "tiny"))

    return load


@pytest.fixture
def case() -> Volume:
    random = np.random.default_rng(0)
    image = random.integers(-150, 280, (20, 19, 18)).astype(np.float32)
    return Volume(image=image, label=(image > 150).astype(np.uint8), affine=np.eye(4), spacing=(1, 1, 1), name="a")


def test_a_card_puts_a_transform_before_the_whole_model(wrapped, case) -> None:
    hidden, plain = wrapped('kind = "smoothing"\nsigma = 1.0')
    smooth = gaussian_filter(np.clip(case.image, LOW, HIGH), 1.0, mode="nearest", truncate=4.0)
    np.testing.assert_array_equal(hidden.predict(case.image).mask, plain.predict(smooth).mask)
    assert (hidden.stages, hidden.classes, hidden.weights_sha256) == (2, 2, plain.weights_sha256)
    assert hidden.settings() != plain.settings()


def test_the_gradient_passes_through_smoothing(wrapped, case) -> None:
    """Against a finite difference along the gradient, with the statistics differentiated as well."""
    hidden, _ = wrapped('kind = "smoothing"\nsigma = 0.8')
    inside = np.clip(case.image, LOW + 1, HIGH - 1).astype(np.float64)
    options = {"mode": "fused", "target": "coarse", "statistics": "through"}
    double = Transformed(hidden.pipeline.coarse, hidden.transform)
    double.pipeline.network.double()
    _, gradient = double.loss_gradient(inside, case.label, "ce", **options)
    direction = gradient / np.abs(gradient).max()
    up, down = (double.loss_gradient(inside + h * direction, case.label, "ce", **options)[0] for h in (1e-3, -1e-3))
    assert float((gradient * direction).sum()) == pytest.approx((up - down) / 2e-3, rel=1e-3)


def test_the_gradient_passes_straight_through_bit_depth(wrapped, case) -> None:
    hidden, plain = wrapped('kind = "bit_depth"\nbits = 3')
    inside = np.clip(case.image, LOW, HIGH)
    value, gradient = hidden.loss_gradient(inside, case.label, "ce", target="coarse")
    shown = BitDepth(3, LOW, HIGH)(torch.from_numpy(inside)).numpy()
    expected_value, expected = plain.loss_gradient(shown, case.label, "ce", target="coarse")
    assert value == expected_value
    np.testing.assert_array_equal(gradient, expected)
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("section", ['kind = "smoothing"\nsigma = 1.0', 'kind = "bit_depth"\nbits = 4'])
def test_attacks_raise_the_loss_of_the_defended_model(wrapped, case, section) -> None:
    hidden, _ = wrapped(section)
    threat = r3.ThreatModel(norm="linf", epsilon=10.2, unit="HU", valid=(LOW, HIGH))
    found = r3.load_attack("ifgsm")(hidden, case, threat, seed=0)
    clean, attacked = (
        hidden.loss_gradient(image, case.label, "ce", target="coarse")[0]
        for image in (np.clip(case.image, LOW, HIGH), found.volume.image)
    )
    assert attacked > clean
