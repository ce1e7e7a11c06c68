# SPDX-License-Identifier: Apache-2.0
"""VAFA: its transform against SciPy, its gradient against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import fft, ndimage

from robust3d.attacks.cards import load_attack
from robust3d.attacks.dct import BlockTransform, cosine_matrix
from robust3d.attacks.vafa import VAFA, Codec
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import dsc
from robust3d.threat.model import ThreatModel

THREAT = ThreatModel(norm="linf", epsilon=10.7, unit="HU", valid=(-100, 240))


def small(**settings) -> VAFA:
    return VAFA(name="v", **({"block": 8, "steps": 4} | settings))


def clipped(volume) -> np.ndarray:
    return volume.image.clip(-100, 240)


@pytest.mark.parametrize("length", [1, 4, 7, 32])
def test_matrix_is_orthonormal(length) -> None:
    matrix = cosine_matrix(length).numpy()
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(length), atol=1e-12)


def test_coefficients_are_scipys_of_the_padded_blocks() -> None:
    random = np.random.default_rng(0)
    image = random.normal(size=(9, 4, 6))
    transform = BlockTransform(image.shape, 4)
    coefficients = transform.forward(torch.from_numpy(image))
    padded = np.pad(image, ((0, 3), (0, 0), (0, 2)), mode="edge")
    theirs = [
        fft.dctn(padded[i : i + 4, j : j + 4, k : k + 4], norm="ortho") for i in (0, 4, 8) for j in (0,) for k in (0, 4)
    ]
    np.testing.assert_allclose(coefficients.numpy(), np.stack(theirs), atol=1e-12)
    np.testing.assert_allclose(transform.inverse(coefficients).numpy(), image, atol=1e-12)
    # <inverse c, g> = <c, adjoint g>
    other = torch.from_numpy(random.normal(size=coefficients.shape))
    gradient = torch.from_numpy(random.normal(size=image.shape))
    assert float((transform.inverse(other) * gradient).sum()) == pytest.approx(
        float((other * transform.adjoint(gradient)).sum())
    )


def test_decoding_is_jpeg_like_quantisation() -> None:
    random = np.random.default_rng(1)
    image = random.uniform(-100, 240, (4, 4, 4))
    table = torch.from_numpy(random.uniform(1, 9, (4, 4, 4)))
    decoded = Codec(torch.from_numpy(image), (-100, 240), 4).decode(table).numpy()
    greys = (image + 100) * 255 / 340
    quantised = np.round(fft.dctn(greys, norm="ortho") / table.numpy()) * table.numpy()
    np.testing.assert_allclose((decoded + 100) * 255 / 340, fft.idctn(quantised, norm="ortho"), atol=1e-9)


def test_table_gradient_is_that_of_the_straight_through_surrogate() -> None:
    """With round(u) = u + constant, x' = IDCT(z + constant q): differentiated numerically, clipping included."""
    random = np.random.default_rng(2)
    image = torch.from_numpy(random.uniform(-100, 240, (7, 5, 4)))
    weights = torch.from_numpy(random.normal(size=image.shape))
    table = torch.from_numpy(random.uniform(20, 60, (4, 4, 4)))
    codec, transform = Codec(image, (-100, 240), 4), BlockTransform(image.shape, 4)
    spectrum = transform.forward((image + 100) * 255 / 340)
    error = (spectrum / table).round() - spectrum / table

    def loss(changed: torch.Tensor) -> float:
        decoded = transform.inverse(spectrum + error * changed) * 340 / 255 - 100
        return float((weights * decoded.clamp(-100, 240)).sum())

    decoded = codec.decode(table)
    assert bool((decoded < -100).any())
    assert bool((decoded > 240).any())
    found = codec.table_gradient(table, decoded, weights)
    for place in np.ndindex(4, 4, 4):
        step = torch.zeros_like(table)
        step[place] = 1e-6
        expected = (loss(table + step) - loss(table - step)) / 2e-6
        assert float(found[place]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.fixture
def tissue(segmenter, volume):
    """Smooth organs with fine texture, so that small coefficients hold detail, as in a scan."""
    random = np.random.default_rng(5)
    organs = ndimage.gaussian_filter(random.normal(size=volume.shape), 2)
    image = (organs / organs.std() * 50 + 70 + random.normal(0, 6, volume.shape)).astype(np.float32)
    return replace(volume, image=image, label=segmenter.predict(image).mask)


@pytest.mark.parametrize("pipeline", ["segmenter", "cascade"])
def test_loss_rises_above_that_of_the_strongest_plain_compression(pipeline, tissue, request) -> None:
    pipeline = request.getfixturevalue(pipeline)
    attack = small(block=16, steps=8, q_start=20.0, q_min=5.0)
    adversarial = attack(pipeline, tissue, THREAT)
    plain = Codec(torch.from_numpy(clipped(tissue)), (-100, 240), 16).decode(torch.full((16, 16, 16), 20.0))

    def loss(image) -> float:
        frozen = pipeline.frozen_at(clipped(tissue))
        return frozen.loss_gradient(np.asarray(image, np.float32), tissue.label, loss="dice", mode="fused")[0]

    assert adversarial.gradients == len(adversarial.trace) == 8
    assert adversarial.queries == 0
    assert adversarial.trace[-1] > adversarial.trace[0]
    assert loss(adversarial.volume.image) > loss(plain.clamp(-100, 240)) > loss(clipped(tissue))
    assert 5 < adversarial.details["mean_table"] < 20


def test_best_iterate_has_the_lowest_dsc_of_those_checked(segmenter, tissue) -> None:
    def result(**settings):
        return small(**({"q_start": 20.0, "q_max": 40.0} | settings))(segmenter, tissue, THREAT)

    def score(image) -> float:
        return dsc(segmenter.predict(image).mask, tissue.label)

    best = result(steps=5, iterate="best")
    lasts = [result(steps=steps) for steps in range(1, 6)]
    scores = [score(last.volume.image) for last in lasts]
    place = int(np.argmin(scores))
    assert len(set(scores)) > 1
    assert (best.queries, best.gradients) == (5, 5)
    assert np.array_equal(best.volume.image, lasts[place].volume.image)
    assert best.details == lasts[place].details
    assert result(steps=5, iterate="best", check_every=2).queries == 3


@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_range_and_storage_hold_and_the_true_distance_is_told(segmenter, volume, storage) -> None:
    volume = replace(volume, image=np.rint(volume.image))
    adversarial = small(q_start=20.0)(segmenter, volume, replace(THREAT, storage=storage))
    image = adversarial.volume.image
    assert image.min() >= -100
    assert image.max() <= 240
    assert (storage == "float32") == bool((image != np.rint(image)).any())
    distance = np.abs(image.astype(np.float64) - clipped(volume)).max()
    assert adversarial.distance == pytest.approx(distance)
    assert distance > THREAT.epsilon


def test_finest_table_changes_no_more_than_its_rounding(segmenter, volume) -> None:
    """Coefficients move by q / 2 at most, so by Parseval the RMS change by half a grey level, q = 1."""
    attack = small(q_max=1.0)
    image = attack(segmenter, volume, THREAT).volume.image
    root = np.sqrt(np.square(image - clipped(volume)).mean())
    # The padded voxels share the energy of a block with the real ones.
    padded = np.prod([24, 24, 16]) / np.prod(volume.shape)
    assert 0 < root <= 0.5 * 340 / 255 * np.sqrt(padded)


def test_epsilon_is_ignored_and_so_is_the_seed(segmenter, volume) -> None:
    attack = small()
    first = attack(segmenter, volume, THREAT, 1).volume.image
    assert np.array_equal(first, attack(segmenter, volume, replace(THREAT, epsilon=0), 2).volume.image)
    assert not np.array_equal(first, clipped(volume))
    assert not attack.bounded


def test_goal_is_descended_and_its_figures_are_told(segmenter, tissue) -> None:
    attack = small(block=16, steps=6, q_start=20.0, goal={"kind": "erase"})
    adversarial = attack(segmenter, tissue, THREAT)
    assert set(adversarial.details) == {"mean_table", "target_dsc", "left_dsc"}
    # The trace is the loss with the map wanted, which the attack lowers.
    assert adversarial.trace[-1] < adversarial.trace[0]
    assert adversarial.queries == 1


def test_model_is_left_as_it_was(segmenter, volume) -> None:
    net = segmenter.network.train()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    small()(segmenter, volume, THREAT)
    with pytest.raises(InputError, match="class 9"):
        small()(segmenter, replace(volume, label=np.full(volume.shape, 9, np.uint8)), THREAT)
    assert all(module.training for module in net)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())


@pytest.mark.parametrize(("name", "start", "least"), [("vafa", 1.0, 1.0), ("vafa-qmax", 20.0, 5.0)])
def test_cards_start_as_the_paper_and_as_the_authors_code(name, start, least) -> None:
    settings = load_attack(name).settings()
    assert (settings["q_start"], settings["q_min"], settings["q_max"], settings["block"]) == (start, least, 20.0, 32)
    assert (settings["loss"], settings["gradient"]) == ("dice", "fused")


def test_what_cannot_work_is_refused(segmenter, volume) -> None:
    with pytest.raises(InputError, match="give it a valid range"):
        small()(segmenter, volume, replace(THREAT, valid=None))
    with pytest.raises(InputError, match="q_start 30 must lie from q_min 1 to q_max 20"):
        load_attack("vafa", q_start=30.0)
    with pytest.raises(InputError, match="check_every has no effect"):
        load_attack("vafa", iterate="last")
