# SPDX-License-Identifier: Apache-2.0
"""Auto-PGD: its schedule against the published one, its search on losses with a known maximum."""

import numpy as np
import pytest
import torch

from robust3d.attacks.apgd import APGD, checkpoints
from robust3d.attacks.ascent import GradientAscent
from robust3d.attacks.attack import Attempt
from robust3d.attacks.cards import load_attack
from robust3d.attacks.ensemble import SEA3D
from robust3d.attacks.objective import Search
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import dsc
from robust3d.threat.model import ThreatModel
from tests.attacks.analytic import Quadratic, volume_of_ones

LINF = ThreatModel(norm="linf", epsilon=10, unit="HU")
pytestmark = pytest.mark.filterwarnings("ignore:.*judges its progress")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (20, [4, 7, 9, *range(10, 20)]),
        (40, [8, 15, 21, 26, 30, 33, 35, 37, 39]),
        (50, [11, 21, 30, 38, 45]),
        (100, [22, 41, 57, 70, 80, 87, 93, 99]),
        (300, [66, 123, 171, 210, 240, 261, 279, 297]),
    ],
)
def test_checkpoints_are_the_published_ones(steps, expected) -> None:
    assert checkpoints(steps) == expected


def test_a_peak_inside_the_ball_is_found_closer_than_by_fixed_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    peak = (torch.rand((6, 5, 4), generator=generator) * 2 - 1) * 8
    volume = volume_of_ones((6, 5, 4))

    def error(attack) -> float:
        return float((torch.from_numpy(attack(Quadratic(peak), volume, LINF).volume.image) - peak).abs().max())

    apgd = error(APGD(name="apgd", steps=100, check_every=1))
    fixed = error(GradientAscent(name="pgd", steps=100, relative_step=0.25, iterate="best"))
    # The iterate counts by its DSC, which does not change any more once all voxels are within 0.2.
    assert apgd <= 0.2
    assert fixed > 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_peak_outside_the_ball_leads_to_its_nearest_point(norm) -> None:
    threat = LINF if norm == "linf" else ThreatModel(norm="l2", epsilon=10, unit="RMS HU")
    peak = torch.linspace(-60, 60, 60).view(5, 4, 3)
    adversarial = APGD(name="apgd", steps=100, check_every=100)(
        Quadratic(peak, reach=30), volume_of_ones((5, 4, 3)), threat
    )
    nearest = peak.clamp(-10, 10) if norm == "linf" else peak * 10 / peak.square().mean().sqrt()
    np.testing.assert_allclose(adversarial.volume.image, nearest.numpy(), atol=0.5)


def test_a_flipped_voxel_is_progress_although_it_drops_out_of_the_masked_loss(segmenter, volume) -> None:
    threat = ThreatModel(epsilon=20, unit="HU", valid=(-100, 240))
    attempt = Attempt(segmenter, volume, threat, 0)
    search = Search(attempt, APGD(name="a", loss="masked_ce"))
    start = attempt.threat.project(attempt.clean, attempt.clean)
    first, gradient = search.climb(start, judge=True)
    second, _ = search.climb(threat.project(start + 20 * gradient.sign(), attempt.clean), judge=True)
    expected = [
        segmenter.frozen_at(start).loss_gradient(point, volume.label, "ce", "fused")[0]
        for point in (start, threat.project(start + 20 * gradient.sign(), attempt.clean))
    ]
    assert [first, second] == pytest.approx(expected, rel=1e-6)
    assert second > first
    # The gradient is that of the masked loss all the same.
    masked = segmenter.frozen_at(start).loss_gradient(start, volume.label, "masked_ce", "fused")[1]
    assert torch.equal(gradient, torch.as_tensor(masked))


def test_red_eps_ends_within_epsilon(segmenter, volume) -> None:
    threat = ThreatModel(epsilon=6, unit="HU", valid=(-100, 240))
    adversarial = load_attack("apgd-red-eps", steps=10)(segmenter, volume, threat)
    assert adversarial.distance <= 6 + 1e-4
    assert adversarial.gradients == 10


def test_short_schedules_are_warned_about() -> None:
    with pytest.warns(UserWarning, match="50 or more"):
        APGD(name="apgd", steps=49).check(2, LINF)


def test_dlr_on_two_classes_is_refused_before_computing() -> None:
    with pytest.raises(InputError, match="use 'margin'"):
        load_attack("apgd-dlr").check(2, LINF)
    load_attack("apgd-dlr").check(3, LINF)


def test_the_ensemble_is_the_lowest_of_its_members(cascade, volume) -> None:
    threat = ThreatModel(epsilon=5, unit="HU", valid=(-100, 240))
    ensemble = SEA3D(name="sea", steps=4, check_every=2, losses=("masked_ce", "dice"), targets=("c2f", "coarse"))
    adversarial = ensemble(cascade, volume, threat, seed=3)
    reached = dict(adversarial.details["members"])
    refined = reached.pop("refined")
    kinds = (*ensemble.losses, "pgd")
    assert list(reached) == [f"{kind}/{target}" for target in ("c2f", "coarse") for kind in kinds]
    alone = [member(cascade, volume, threat, seed=3).volume.image for member in ensemble.members(cascade.stages)]
    scores = [dsc(cascade.predict(image).mask, volume.label) for image in alone]
    assert list(reached.values()) == pytest.approx(scores)
    assert len(set(scores)) > 1
    assert refined <= min(scores)
    assert dsc(cascade.predict(adversarial.volume.image).mask, volume.label) == pytest.approx(refined)
    assert adversarial.gradients == 4 * 7


def test_the_ensemble_stops_once_it_is_enough(cascade, volume) -> None:
    threat = ThreatModel(epsilon=5, unit="HU", valid=(-100, 240))

    def members(enough: float) -> dict[str, float]:
        attack = SEA3D(name="sea", steps=2, check_every=2, losses=("dice", "js"), enough=enough)
        return dict(attack(cascade, volume, threat, seed=3).details["members"])

    full = members(0.0)
    assert list(full) == ["dice/c2f", "js/c2f", "pgd/c2f", "refined"]
    assert members(full["dice/c2f"]) == {"dice/c2f": full["dice/c2f"]}
    assert members(full["refined"] - 1e-9) == full


def test_refinement_starts_from_the_best_point_with_half_of_epsilon(cascade, volume, monkeypatch) -> None:
    threat = ThreatModel(epsilon=5, unit="HU", valid=(-100, 240))
    attempt = Attempt(cascade, volume, threat, 3)
    attack = APGD(name="apgd", loss="dice", steps=1)
    search = Search(attempt, attack)
    start = threat.project(attempt.clean, attempt.clean)
    seen = []
    monkeypatch.setattr(search, "consider", seen.append)
    attack.refine(search, start)
    moved = (seen[0] - start)[cascade.loss_gradient(start, attempt.label, "dice", "fused")[1] != 0]
    assert float(moved.abs().max()) == pytest.approx(2.5, rel=1e-4)
