# SPDX-License-Identifier: Apache-2.0
"""Whether the gradient is one: against finite differences, where it is zero, and why (arXiv:1802.00420, 2003.01690)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robust3d.benchmarks.diagnostics.exam import Exam
from robust3d.benchmarks.diagnostics.finding import Figure, Judgement, check, percent
from robust3d.benchmarks.diagnostics.stages import Stage, stages
from robust3d.foundation.errors import InputError
from robust3d.volume.channels import crop

DIRECTIONS = 3
"""Random directions of the finite differences: each probes all voxels, and the median outvotes a chance agreement."""

_ROUNDING = 8 * 2.0**-23
"""Error of the difference of two Dice losses, at most 1 and summed pairwise in float32."""


@check(
    "gradient agrees with finite differences",
    ok="The gradient of the stitched loss is that of the model as it predicts.",
    flagged="The loss moves otherwise than its gradient says: part of the model is hidden from it or random.",
    remedy="Look for detached, rounded or random operations in the network; attack without gradients meanwhile.",
)
def finite_differences(exam: Exam) -> Judgement:
    """Flag a median relative error above 25 % along random sign directions, of either stage.

    Central differences over +-epsilon / 100 of the fused Dice loss; voxels that this would carry past the valid range
    stay, and so does the box of a cascade. Kinks of ReLU and pooling cost a trained network about 10 % at this reach
    and twice that at epsilon / 10; a missing half of the windows costs 70, a zero gradient 100. Errors are relative to
    the larger of both root mean squares.

    Raises
    ------
    InputError
        If float32 rounding of the loss would be a quarter of what is measured.
    """
    slopes = [_slopes(stage, exam) for stage in stages(exam)]
    # Written so that NaN is the worst.
    worst = max(slopes, key=lambda one: one.error if one.error == one.error else np.inf)
    unit = f"per {exam.threat.volume_unit}"
    figures = (
        percent("median error", worst.error),
        Figure("slope by gradient", worst.expected, unit),
        Figure("slope measured", worst.measured, unit),
    )
    return Judgement(not worst.error <= 0.25, figures)


@check(
    "gradient reaches the organ",
    ok="The attack can move nearly every voxel of the organ.",
    flagged="Voxels of the organ have no gradient or a NaN: the attack leaves them alone, whatever epsilon.",
    remedy="See the two checks below for the reason; for NaN, look for log(0) or a division by 0 in the network.",
)
def gradient_reaches(exam: Exam) -> Judgement:
    """Flag exact zeros in over 5 % of the organ, or any voxel that is not finite.

    Counted strictly inside the valid range. Receptive fields overlap, so that no voxel of the organ is without effect;
    5 % leaves room for dead ReLUs. Outside the organ zeros are told but may be an attack's choice of windows.
    """
    _, gradient = exam.gradient(exam.attack.loss, exam.attack.windows)
    broken = ~torch.isfinite(gradient)
    inside, outside = (_share(gradient == 0, place & exam.movable) for place in (exam.organ, ~exam.organ))
    figures = (
        percent("zero in the organ", inside),
        percent("zero outside", outside),
        Figure("not finite in the organ", int((broken & exam.organ).sum()), "voxels"),
        Figure("not finite outside", int((broken & ~exam.organ).sum()), "voxels"),
    )
    return Judgement(inside > 0.05 or bool(broken.any()), figures)


@check(
    "logits are not saturated",
    ok="The loss keeps its gradient where the margin between classes has one.",
    flagged="Probabilities underflow, so that the loss has no gradient where the logits have one: masking.",
    remedy="Attack with the loss margin, which a saturated softmax cannot hide (apgd-margin).",
)
def saturation(exam: Exam) -> Judgement:
    """Flag a zero gradient in over 5 % of those voxels of the organ where the logit margin has one.

    A softmax that underflows in float32 hides a margin of 87 or more (arXiv:2003.01690, section 4); 5 % as for zeros
    of the gradient. All windows count, whatever the attack's choice.
    """
    visible = (_margin_gradient(exam) != 0) & exam.organ & exam.movable
    if not bool(visible.any()):
        raise InputError("the logit margin has no gradient in the organ either, so that saturation is not the reason")
    _, gradient = exam.gradient(exam.attack.loss, "all")
    hidden = _share(gradient == 0, visible)
    return Judgement(hidden > 0.05, (percent("hidden in the organ", hidden),))


@check(
    "predictions do not change in stairs",
    ok="Where the prediction can change, the gradient says so.",
    flagged="The prediction changes where there is no gradient, or the fusion is a vote, whose gradient is a stand-in.",
    remedy="Replace the step by a smooth one in the backward pass (BPDA, arXiv:1802.00420), and attack with square.",
)
def stairs(exam: Exam) -> Judgement:
    """Flag a vote; or no margin gradient in half of the organ, though noise moves over 0.1 % of the mask.

    A model that rounds its input has a gradient of zero nearly everywhere; half leaves room for dead ReLUs and for
    truncation within the valid range. 0.1 % is more than rounding of the network flips.
    """
    flat = _share(_margin_gradient(exam) == 0, exam.organ & exam.movable)
    moved = np.count_nonzero(exam.noise.mask != exam.clean.mask) / int(exam.organ.sum())
    vote = "vote" in _values(exam.pipeline.settings())
    figures = (
        percent("organ without gradient", flat),
        percent("mask moved by noise, of the organ", moved),
        Figure("fused by vote", int(vote)),
    )
    return Judgement(bool(vote or (flat > 0.5 and moved > 1e-3)), figures)


def _margin_gradient(exam: Exam) -> Tensor:
    return exam.gradient("margin", "all")[1]


@dataclass(frozen=True)
class _Slopes:
    """Median relative error of the gradient along the directions, and median sizes of both slopes."""

    error: float
    expected: float
    measured: float


def _slopes(stage: Stage, exam: Exam) -> _Slopes:
    image, label = crop(exam.origin, stage.box), exam.label[stage.box]
    reach = exam.threat.epsilon / 100
    stays = torch.zeros_like(image, dtype=torch.bool)
    bounds = exam.threat.bounds(image)
    if bounds is not None:
        low, high = bounds
        stays = (image < low + reach) | (image > high - reach)

    def fused(moved: Tensor) -> tuple[float, Tensor]:
        # Dice: bounded by 1, and of the whole prediction as it is fused.
        return stage.pipeline.loss_gradient(moved, label, loss="dice", mode="fused", windows="all")

    generator = torch.Generator().manual_seed(exam.seed)
    _, gradient = fused(image)
    expected, measured = [], []
    for _ in range(DIRECTIONS):
        signs = torch.randint(0, 2, image.shape, generator=generator) * 2 - 1
        step = reach * signs.to(image).masked_fill(stays, 0.0)
        expected.append(float((gradient.double() * step.double()).sum()) / reach)
        measured.append((fused(image + step)[0] - fused(image - step)[0]) / (2 * reach))
    scale = max(float(np.sqrt(np.mean(np.square(one)))) for one in (expected, measured))
    if _ROUNDING / (2 * reach) > scale / 4:
        raise InputError(
            f"the loss moves by {2 * reach * scale:.1g} over {reach:g} {exam.threat.unit} both ways, too little for "
            "float32; give a larger epsilon"
        )
    error = np.median(np.abs(np.subtract(expected, measured))) / scale
    return _Slopes(float(error), float(np.median(np.abs(expected))), float(np.median(np.abs(measured))))


def _share(what: Tensor, where: Tensor) -> float:
    """Return the share of ``where`` that ``what`` holds in; 0 if there is none."""
    return float((what & where).sum()) / max(1, int(where.sum()))


def _values(settings: Any) -> list[Any]:
    """Return all values of nested settings."""
    if isinstance(settings, dict):
        return [value for one in settings.values() for value in _values(one)]
    return [settings]
