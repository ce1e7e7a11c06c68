# SPDX-License-Identifier: Apache-2.0
"""What must hold as the steps of an attack vary (arXiv:1902.06705; Pintor et al., arXiv:2106.09947)."""

from __future__ import annotations

import numpy as np
import torch

from robust3d.benchmarks.diagnostics.epsilon import SLACK
from robust3d.benchmarks.diagnostics.exam import Exam
from robust3d.benchmarks.diagnostics.finding import Figure, Judgement, check, percent
from robust3d.foundation.errors import InputError
from robust3d.losses.registry import find_loss, progress_loss


@check(
    "DSC falls as steps are added",
    ok="More steps never help the model.",
    flagged="The attack gets worse as it goes on: its steps overshoot, or its loss is not the DSC.",
    remedy="Use a smaller step, the best iterate instead of the last, or Auto-PGD.",
)
def monotone_in_steps(exam: Exam) -> Judgement:
    """Flag a DSC more than 2 points above that of fewer steps: a quarter, a half, all.

    The slack is that of :data:`robust3d.benchmarks.diagnostics.epsilon.SLACK`.
    """
    exam.require_skill()
    numbers = quarters(exam.attack.steps)
    scores = [exam.after(number).dsc for number in numbers]
    rise = max(np.diff(scores), default=0.0)
    figures = (percent(f"DSC, steps {number}", score) for number, score in zip(numbers, scores, strict=True))
    return Judgement(bool(rise > SLACK), tuple(figures))


@check(
    "iterative beats one step",
    ok="The gradient stays useful beyond the first step.",
    flagged="One step beats many: a masked gradient (arXiv:1802.00420), or steps too small to cross the ball.",
    remedy="See that steps times step size pass epsilon; then attack without gradients (square) and report the lowest.",
)
def iterative_beats_one_step(exam: Exam) -> Judgement:
    """Flag a DSC more than 2 points above that of one step of size epsilon.

    The slack is that of :data:`robust3d.benchmarks.diagnostics.epsilon.SLACK`.
    """
    exam.require_skill()
    one, many = exam.one_step.dsc, exam.attacked.dsc
    return Judgement(many > one + SLACK, (percent("DSC, one step", one), percent("DSC, all steps", many)))


@check(
    "loss levels off",
    ok="Further steps would gain little.",
    flagged="The loss still rises when the attack ends, or never rose: the attack is too short, or has no gradient.",
    remedy="Add steps until it levels off; if it never rose, see the gradient checks.",
)
def loss_levels_off(exam: Exam) -> Judgement:
    """Flag a last fifth of the steps with over a tenth of the whole rise, or no rise; not where the DSC is below 1 %.

    A steady rise gains a fifth there, so a tenth is half the mean speed. Below 1 % there is nothing left to win.

    Raises
    ------
    InputError
        For losses that fall as voxels flip, whose course tells nothing.
    """
    exam.require_skill()
    loss = exam.attack.loss
    if progress_loss(loss) is not find_loss(loss):
        raise InputError(f"loss {loss!r} changes its weights as voxels flip, so that its course tells nothing")
    outcome = exam.attacked
    last, _ = exam.loss_gradient(torch.from_numpy(outcome.image).to(exam.origin.device))
    course = [*outcome.trace, last]
    tail = max(1, exam.attack.steps // 5)
    rise, late = course[-1] - course[0], course[-1] - course[-1 - tail]
    share = late / rise if rise > 0 else 0.0
    figures = (
        Figure("slope at the end", late / tail, "per step"),
        Figure("whole rise", rise),
        percent("share of it in the last fifth", share),
    )
    return Judgement(outcome.dsc > 0.01 and (rise <= 0 or share > 0.1), figures)


def quarters(steps: int) -> list[int]:
    """Return a quarter, a half and all of a number of steps, each at least 1, without repeats.

    Examples
    --------
    >>> quarters(10), quarters(2)
    ([2, 5, 10], [1, 2])
    """
    return sorted({max(1, steps // 4), max(1, steps // 2), steps})
