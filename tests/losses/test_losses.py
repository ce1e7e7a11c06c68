# SPDX-License-Identifier: Apache-2.0
"""Losses against values worked out by hand and gradcheck."""

import math

import pytest
import torch

from robust3d.foundation.errors import InputError
from robust3d.losses.divergence import kl_divergence
from robust3d.losses.registry import check_classes, find_loss, loss_names

# Two voxels; probabilities of the classes are given, logits are their logarithms plus a constant.
TWO = torch.tensor([[0.8, 0.2], [0.4, 0.6]], dtype=torch.float64)
THREE = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], dtype=torch.float64)


def logits(probabilities: torch.Tensor) -> torch.Tensor:
    """(voxels, K) -> (1, K, voxels)."""
    return probabilities.log().T[None] + 1.7


def _js(hit: float) -> float:
    """Divergence of (p, 1 - p) and (1, 0) from its definition, with the mixture m = (p + 1) / 2, (1 - p) / 2."""
    mixed = (hit + 1) / 2
    rest = (1 - hit) * math.log(2)
    return (math.log(1 / mixed) + hit * math.log(hit / mixed) + rest) / 2


@pytest.mark.parametrize(
    ("name", "probabilities", "label", "expected"),
    [
        ("ce", TWO, [0, 1], -(math.log(0.8) + math.log(0.6)) / 2),
        ("ce", THREE, [1, 2], -(math.log(0.3) + math.log(0.7)) / 2),
        ("cospgd", TWO, [0, 1], -(0.8 / 0.68**0.5 * math.log(0.8) + 0.6 / 0.52**0.5 * math.log(0.6)) / 2),
        ("cospgd", THREE, [1, 2], -(0.3 / 0.38**0.5 * math.log(0.3) + 0.7 / 0.54**0.5 * math.log(0.7)) / 2),
        ("masked_ce", TWO, [0, 0], -math.log(0.8) / 2),
        ("masked_ce", THREE, [1, 2], -math.log(0.7) / 2),
        # classes 0 and 1 have a voxel each
        ("balanced_masked_ce", TWO, [0, 1], -(math.log(0.8) + math.log(0.6)) / 2),
        ("balanced_masked_ce", THREE, [1, 2], -math.log(0.7) / 2),
        ("js", TWO, [0, 1], (_js(0.8) + _js(0.6)) / 2),
        ("js", THREE, [1, 2], (_js(0.3) + _js(0.7)) / 2),
        # overlap 0.6, sizes 0.8 and 1
        ("dice", TWO, [0, 1], 1 - (2 * 0.6 + 1) / (0.8 + 1 + 1)),
        # class 1: overlap 0.3, sizes 0.5 and 1; class 2: overlap 0.7, sizes 0.9 and 1
        ("dice", THREE, [1, 2], 1 - ((2 * 0.3 + 1) / 2.5 + (2 * 0.7 + 1) / 2.9) / 2),
        ("dice_ce", TWO, [0, 1], 1 - 2.2 / 2.8 - (math.log(0.8) + math.log(0.6)) / 2),
        ("dice_ce", THREE, [1, 2], 1 - (1.6 / 2.5 + 2.4 / 2.9) / 2 - (math.log(0.3) + math.log(0.7)) / 2),
        ("margin", TWO, [0, 1], (math.log(0.2 / 0.8) + math.log(0.4 / 0.6)) / 2),
        ("margin", THREE, [1, 2], (math.log(0.5 / 0.3) + math.log(0.2 / 0.7)) / 2),
        ("masked_margin", TWO, [0, 0], math.log(0.2 / 0.8) / 2),
        ("masked_margin", THREE, [1, 2], math.log(0.2 / 0.7) / 2),
        (
            "dlr",
            THREE,
            [1, 2],
            (math.log(0.5 / 0.3) / math.log(0.5 / 0.2) + math.log(0.2 / 0.7) / math.log(0.7 / 0.1)) / 2,
        ),
    ],
)
def test_values_by_hand(name, probabilities, label, expected) -> None:
    value = find_loss(name)(logits(probabilities), torch.tensor([label]))
    assert float(value) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("progress", "wrong"), [(0.0, 0.0), (0.5, 0.25), (0.9, 0.45)])
def test_segpgd_weighs_by_its_schedule(progress, wrong) -> None:
    # Voxel 0 is right with 0.5, voxel 1 wrong with 0.1.
    value = find_loss("segpgd", progress)(logits(THREE), torch.tensor([[0, 0]]))
    assert float(value) == pytest.approx(-((1 - wrong) * math.log(0.5) + wrong * math.log(0.1)) / 2, rel=1e-9)


def test_balanced_masked_ce_weighs_classes_alike() -> None:
    scores = logits(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]], dtype=torch.float64))
    expected = -((math.log(0.9) + math.log(0.8) + math.log(0.7)) / 3 + math.log(0.6)) / 2
    value = find_loss("balanced_masked_ce")(scores, torch.tensor([[0, 0, 0, 1]]))
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_kl_divergence_is_torchs() -> None:
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.randn((2, 3, 4, 5), generator=generator, dtype=torch.float64) for _ in range(2))
    expected = (
        torch.nn.functional.kl_div(one.log_softmax(1), other.log_softmax(1), reduction="none", log_target=True)
        .sum(1)
        .mean()
    )
    assert float(kl_divergence(one, other)) == pytest.approx(float(expected), rel=1e-12)
    assert float(kl_divergence(one, one + 3)) == pytest.approx(0, abs=1e-12)
    leaf = one.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda scores: kl_divergence(scores, other), leaf)


@pytest.mark.parametrize("name", loss_names())
def test_ignored_voxels_do_not_count(name) -> None:
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn((1, 3, 40), generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (1, 40), generator=generator)
    ignored = torch.cat([label, torch.full((1, 25), 255)], dim=1)
    padded = torch.cat([scores, torch.randn((1, 3, 25), generator=generator, dtype=torch.float64)], dim=2)
    leaf = padded.clone().requires_grad_(True)
    value = find_loss(name, 0.5)(leaf, ignored)
    value.backward()
    assert value.item() == pytest.approx(float(find_loss(name, 0.5)(scores, label)), rel=1e-12)
    assert not leaf.grad[:, :, 40:].any()


def test_dlr_needs_three_classes() -> None:
    with pytest.raises(InputError, match="use the margin"):
        find_loss("dlr")(logits(TWO), torch.tensor([[0, 1]]))
    with pytest.raises(InputError, match="use 'margin'"):
        check_classes("dlr", 2)
    check_classes("dlr", 3)


@pytest.mark.parametrize("name", loss_names())
@pytest.mark.parametrize("classes", [2, 3])
def test_gradients(name, classes) -> None:
    if name == "dlr" and classes == 2:
        pytest.skip("DLR needs three classes")
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn((2, classes, 2, 3, 2), generator=generator, dtype=torch.float64, requires_grad=True)
    label = torch.randint(0, classes, (2, 2, 3, 2), generator=generator)
    if name == "cospgd":
        # Its weight is a constant for the gradient, so finite differences hold it fixed.
        probabilities = torch.softmax(scores.detach(), 1)
        hit = probabilities.gather(1, label.unsqueeze(1)).squeeze(1)
        weight = hit / probabilities.square().sum(1).sqrt()
        leaf = scores.detach().clone().requires_grad_(True)
        (weight * torch.nn.functional.cross_entropy(leaf, label, reduction="none")).mean().backward()
        find_loss("cospgd")(scores, label).backward()
        torch.testing.assert_close(scores.grad, leaf.grad)
        return
    assert torch.autograd.gradcheck(lambda one: find_loss(name, 0.5)(one, label), scores)


@pytest.mark.parametrize("name", ["ce", "dice", "dice_ce", "js"])
def test_perfect_and_opposite_predictions(name) -> None:
    label = torch.tensor([[0, 1, 1, 0] * 50])
    perfect = torch.nn.functional.one_hot(label, 2).movedim(-1, 1).double() * 80
    assert float(find_loss(name)(perfect, label)) == pytest.approx(0, abs=1e-9)
    assert float(find_loss(name)(perfect.flip(1), label)) > 0.69


@pytest.mark.parametrize("classes", [2, 3])
def test_no_two_losses_share_a_gradient(classes) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = 2 * torch.randn((1, classes, 60), generator=generator, dtype=torch.float64)
    label = torch.randint(0, classes, (1, 60), generator=generator)
    label[0, :40] = 0
    gradients = {}
    for name in loss_names():
        if name == "dlr" and classes == 2:
            continue
        leaf = scores.clone().requires_grad_(True)
        find_loss(name, 0.5)(leaf, label).backward()
        gradients[name] = leaf.grad.flatten() / leaf.grad.norm()
    names = list(gradients)
    for number, one in enumerate(names):
        for other in names[:number]:
            assert float(gradients[one] @ gradients[other]) < 0.9999, (one, other)


def test_two_class_losses_weigh_one_direction() -> None:
    """For two classes SegPGD, CosPGD, masked CE and JS are CE with a weight a voxel that depends on p_y alone."""
    generator = torch.Generator().manual_seed(4)
    scores = torch.randn((1, 2, 50), generator=generator, dtype=torch.float64)
    label = torch.randint(0, 2, (1, 50), generator=generator)
    hit = torch.softmax(scores, 1).gather(1, label.unsqueeze(1))[0, 0]
    weights = {
        "ce": torch.ones_like(hit),
        "cospgd": hit / (hit.square() + (1 - hit).square()).sqrt(),
        "masked_ce": (hit > 0.5).double(),
        "js": hit * ((1 + hit) / hit).log() / 2,
    }
    for name, weight in weights.items():
        leaf = scores.clone().requires_grad_(True)
        find_loss(name)(leaf, label).backward()
        own = leaf.grad.gather(1, label.unsqueeze(1))[0, 0]
        torch.testing.assert_close(own, -weight * (1 - hit) / 50)


def test_an_unknown_loss_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'dice'"):
        find_loss("dise")
