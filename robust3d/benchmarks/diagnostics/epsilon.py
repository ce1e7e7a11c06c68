# SPDX-License-Identifier: Apache-2.0
"""What must hold as epsilon varies (Carlini et al., "On Evaluating Adversarial Robustness", arXiv:1902.06705)."""

from __future__ import annotations

import numpy as np

from robust3d.benchmarks.diagnostics.exam import Exam
from robust3d.benchmarks.diagnostics.finding import Figure, Judgement, check, percent

SLACK = 0.02
"""DSC from 0 to 1 by which a stronger attack may lose to a weaker one: sign ascent is no exact maximiser, and on one
case its end varies by a point or two with the schedule."""


@check(
    "epsilon 0 is the identity",
    ok="The clean volume is what the attack starts from and what the clean figure is measured on.",
    flagged="Something other than the attack changes the volume or its prediction.",
    remedy="Compare the valid range with the model's intensity window and the volume's unit; look for random output.",
)
def epsilon_zero(exam: Exam) -> Judgement:
    """Flag any change of a voxel, or 0.01 points of DSC.

    At epsilon 0 the attack returns its start, so both should be zero; 0.01 is the last digit that reports print.
    """
    outcome = exam.nothing
    change = float(np.abs(outcome.image - exam.origin.cpu().numpy()).max())
    drop = abs(exam.clean.dsc - outcome.dsc)
    figures = (
        percent("clean DSC", exam.clean.dsc),
        percent("DSC at epsilon 0", outcome.dsc),
        Figure("largest change", change, exam.threat.volume_unit),
    )
    return Judgement(change > 0 or drop > 1e-4, figures)


@check(
    "unbounded epsilon reaches DSC 0",
    ok="Without a bound the attack erases the organ, so what it leaves within the bound is not for want of a gradient.",
    flagged="The attack fails where every volume is allowed: its gradient is masked or its objective is not the DSC.",
    remedy="Attack with another loss (margin), more steps, or without gradients (square); see the gradient checks.",
)
def unbounded_epsilon(exam: Exam) -> Judgement:
    """Flag a DSC above 5 %.

    Where every volume is allowed, one without an organ is too; 5 % is what a few voxels leave in few large steps.
    """
    exam.require_skill()
    outcome = exam.unbounded
    return Judgement(outcome.dsc > 0.05, (percent("DSC", outcome.dsc),))


@check(
    "DSC falls as epsilon grows",
    ok="A larger bound never helps the model.",
    flagged="A larger bound makes the attack weaker, although it allows all that the smaller one does.",
    remedy="Scale the step with epsilon, add steps, and report the running minimum over epsilon.",
)
def monotone_in_epsilon(exam: Exam) -> Judgement:
    """Flag a DSC more than 2 points above that of the next smaller epsilon: 0, one half, one, unbounded.

    The ball of a smaller epsilon lies in that of a larger one; the slack is that of :data:`SLACK`.
    """
    exam.require_skill()
    scores = {
        "at 0": exam.clean.dsc,
        "at epsilon / 2": exam.halved.dsc,
        "at epsilon": exam.attacked.dsc,
        "unbounded": exam.unbounded.dsc,
    }
    rise = max(np.diff(list(scores.values())))
    return Judgement(bool(rise > SLACK), tuple(percent(f"DSC {place}", score) for place, score in scores.items()))
