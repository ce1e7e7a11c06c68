# SPDX-License-Identifier: Apache-2.0
"""What attacks that see no gradient may reach (Athalye et al., arXiv:1802.00420; Croce & Hein, arXiv:2003.01690)."""

from __future__ import annotations

from robust3d.benchmarks.diagnostics.epsilon import SLACK
from robust3d.benchmarks.diagnostics.exam import Exam
from robust3d.benchmarks.diagnostics.finding import Judgement, check, percent


@check(
    "white box beats Square and noise",
    ok="Knowing the gradient helps, as it should.",
    flagged="An attack that sees only masks does better than one that sees the gradient: the gradient is masked.",
    remedy="Report the worst case over both, and give Square its full budget.",
)
def white_box_beats_black_box(exam: Exam) -> Judgement:
    """Flag a DSC more than 2 points above that of Square with 20 queries or of random signs.

    Whatever these find lies in the same ball. The slack is that of
    :data:`robust3d.benchmarks.diagnostics.epsilon.SLACK`.
    """
    exam.require_skill()
    white, square, noise = exam.attacked.dsc, exam.searched.dsc, exam.noise.dsc
    figures = (percent("DSC, attack", white), percent("DSC, Square", square), percent("DSC, noise", noise))
    return Judgement(white > min(square, noise) + SLACK, figures)


@check(
    "random signs are weak",
    ok="The drop is the work of the attack, not of noise of the same size.",
    flagged="Noise of the same size does most of the harm: the figure measures sensitivity to noise.",
    remedy="Report the noise beside the attack, and train with noise before comparing defenses.",
)
def noise_is_weak(exam: Exam) -> Judgement:
    """Flag a drop by random signs above 2 points and above half of the attack's.

    At half, knowing the model buys no more than a factor of two; 2 points is the slack of the other comparisons.
    """
    exam.require_skill()
    noise, attack = (exam.clean.dsc - outcome.dsc for outcome in (exam.noise, exam.attacked))
    figures = (percent("drop by noise", noise), percent("drop by the attack", attack))
    return Judgement(noise > SLACK and noise > attack / 2, figures)
