# SPDX-License-Identifier: Apache-2.0
"""Update rules against their formulae, step by step."""

import numpy as np
import pytest
import torch

from robust3d.attacks.ascent import GradientAscent
from robust3d.attacks.updates import UPDATES
from robust3d.threat.model import ThreatModel
from tests.attacks.analytic import Quadratic, volume_of_ones

LINF = ThreatModel(norm="linf", epsilon=10, unit="HU")
L2 = ThreatModel(norm="l2", epsilon=10, unit="RMS HU")
FIRST = torch.tensor([[[3.0, -1.0, 0.0, 4.0]]])
SECOND = torch.tensor([[[-8.0, 0.5, 0.5, 3.0]]])


def test_momentum_is_equation_6() -> None:
    rule = UPDATES["momentum"](LINF, 0.5)
    assert torch.equal(rule.direction(FIRST), FIRST.sign())
    # mean |g| is 2, then 3
    velocity = 0.5 * FIRST / 2 + SECOND / 3
    assert torch.equal(rule.direction(SECOND), velocity.sign())
    assert rule.direction(SECOND).flatten()[0] == -1
    assert not UPDATES["momentum"](LINF, 0.5).direction(torch.zeros(1, 1, 4)).any()


def test_nesterov_looks_ahead() -> None:
    rule = UPDATES["nesterov"](LINF, 0.5)
    here = torch.ones(1, 1, 4)
    assert torch.equal(rule.ahead(here, 2.0), here)
    rule.direction(FIRST)
    torch.testing.assert_close(rule.ahead(here, 2.0), here + 2.0 * 0.5 * FIRST / 2)


def test_amsgrad_is_torchs() -> None:
    leaf = torch.zeros(1, 1, 4, requires_grad=True)
    reference = torch.optim.Adam([leaf], lr=1.0, amsgrad=True, maximize=True)
    rule = UPDATES["amsgrad"](LINF, 0.0)
    place = torch.zeros(1, 1, 4)
    for gradient in (FIRST, SECOND / 2, FIRST / 3):
        # A unit of the loss such that the first gradient's largest value is 1.
        leaf.grad = gradient / FIRST.abs().max()
        reference.step()
        place = place + rule.direction(gradient)
        torch.testing.assert_close(place, leaf.detach(), atol=1e-5, rtol=1e-5)


def test_max_normalised() -> None:
    torch.testing.assert_close(UPDATES["max_normalised"](LINF, 0.0).direction(FIRST), FIRST / 4)


def test_l2_steps_have_a_root_mean_square_of_one() -> None:
    step = UPDATES["steepest"](L2, 0.0).direction(FIRST)
    assert float(step.square().mean().sqrt()) == pytest.approx(1)
    torch.testing.assert_close(step / step.norm(), FIRST / FIRST.norm())


def test_l2_ascent_ends_on_the_sphere_in_the_direction_of_the_peak() -> None:
    peak = torch.linspace(-100, 50, 24).view(4, 3, 2)
    attack = GradientAscent(name="pgd-l2", steps=20, relative_step=0.5)
    result = attack(Quadratic(peak), volume_of_ones((4, 3, 2)), L2)
    assert result.distance == pytest.approx(10, rel=1e-5)
    np.testing.assert_allclose(result.volume.image, (peak * 10 / peak.square().mean().sqrt()).numpy(), rtol=1e-3)
