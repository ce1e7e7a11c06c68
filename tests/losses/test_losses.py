# SPDX-License-Identifier: Apache-2.0
"""Losses against values worked out by hand and gradcheck."""

import math

import pytest
import torch

from robust3d.foundation.errors import InputError
from robust3d.losses.registry import LOSSES, find_loss

# Two voxels; probabilities of the classes are given, logits are their logarithms plus a constant.
TWO = torch.tensor([[0.8, 0.2], [0.4, 0.6]], dtype=torch.float64)
THREE = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], dtype=torch.float64)


def logits(probabilities: torch.Tensor) -> torch.Tensor:
    """(voxels, K) -> (1, K, voxels)."""
    return probabilities.log().T[None] + 1.7


@pytest.mark.parametrize(
    ("name", "probabilities", "label", "expected"),
    [
        ("ce", TWO, [0, 1], -(math.log(0.8) + math.log(0.6)) / 2),
        ("ce", THREE, [1, 2], -(math.log(0.3) + math.log(0.7)) / 2),
        # overlap 0.6, sizes 0.8 and 1
        ("dice", TWO, [0, 1], 1 - (2 * 0.6 + 1) / (0.8 + 1 + 1)),
        # class 1: overlap 0.3, sizes 0.5 and 1; class 2: overlap 0.7, sizes 0.9 and 1
        ("dice", THREE, [1, 2], 1 - ((2 * 0.3 + 1) / 2.5 + (2 * 0.7 + 1) / 2.9) / 2),
    ],
)
def test_values_by_hand(name, probabilities, label, expected) -> None:
    value = LOSSES[name](logits(probabilities), torch.tensor([label]))
    assert float(value) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [2, 3])
def test_gradients(name, classes) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn((2, classes, 2, 3, 2), generator=generator, dtype=torch.float64, requires_grad=True)
    label = torch.randint(0, classes, (2, 2, 3, 2), generator=generator)
    assert torch.autograd.gradcheck(lambda one: LOSSES[name](one, label), scores)


def test_perfect_and_opposite_predictions() -> None:
    label = torch.tensor([[0, 1, 1, 0] * 50])
    perfect = torch.nn.functional.one_hot(label, 2).movedim(-1, 1).double() * 80
    for loss in LOSSES.values():
        assert float(loss(perfect, label)) == pytest.approx(0, abs=1e-9)
        assert float(loss(perfect.flip(1), label)) > 0.98


def test_no_two_losses_share_a_gradient() -> None:
    gradients = []
    for loss in LOSSES.values():
        leaf = logits(THREE).clone().requires_grad_(True)
        loss(leaf, torch.tensor([[1, 2]])).backward()
        gradients.append(leaf.grad.flatten() / leaf.grad.norm())
    for number, one in enumerate(gradients):
        assert all(float(one @ other) < 0.999 for other in gradients[:number])


def test_an_unknown_loss_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'dice'"):
        find_loss("dise")
