# SPDX-License-Identifier: Apache-2.0
"""All checks in the order in which they are read, what they cost together, and an examination by all of them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from robust3d.attacks.ascent import GradientAscent
from robust3d.benchmarks.diagnostics.controls import noise_is_weak, white_box_beats_black_box
from robust3d.benchmarks.diagnostics.epsilon import epsilon_zero, monotone_in_epsilon, unbounded_epsilon
from robust3d.benchmarks.diagnostics.exam import SQUARE_QUERIES, Exam
from robust3d.benchmarks.diagnostics.finding import Check, Finding
from robust3d.benchmarks.diagnostics.gradient import (
    DIRECTIONS,
    finite_differences,
    gradient_reaches,
    saturation,
    stairs,
)
from robust3d.benchmarks.diagnostics.state import network_state, randomness, statistics
from robust3d.benchmarks.diagnostics.steps import (
    iterative_beats_one_step,
    loss_levels_off,
    monotone_in_steps,
    quarters,
)

CHECKS: tuple[Check, ...] = (
    epsilon_zero,
    unbounded_epsilon,
    monotone_in_epsilon,
    monotone_in_steps,
    iterative_beats_one_step,
    loss_levels_off,
    white_box_beats_black_box,
    noise_is_weak,
    finite_differences,
    gradient_reaches,
    saturation,
    stairs,
    randomness,
    network_state,
    statistics,
)


def examine(exam: Exam, done: Callable[[Finding], None] = lambda finding: None) -> list[Finding]:
    """Return the findings of all checks; ``done`` is called after each.

    Equal exams give equal findings, of a random model too: the draws of each check start from the exam's seed, and the
    caller's generators are left as they were.
    """
    device = exam.pipeline.device
    findings = []
    for check in CHECKS:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(exam.seed)
            finding = check(exam)
        findings.append(finding)
        done(finding)
    return findings


def cost(attack: GradientAscent) -> tuple[int, int]:
    """Return the most whole-volume gradients and predictions that one case needs, shared ones counted once.

    A gradient of each stage of a cascade counts as one.
    """
    steps = attack.steps
    # Half and unbounded epsilon, epsilon 0, one step; a quarter, a half and all of the steps.
    ascents = [steps, steps, 1, 1, *quarters(steps)]
    at_clean = len({(attack.loss, attack.windows), (attack.loss, "all"), ("margin", "all")})
    gradients = sum(ascents) + at_clean + (1 + 2 * DIRECTIONS)
    # And the loss at the attack's end, and the gradient that randomness compares.
    gradients += 2
    # Each ascent's result, the iterates of the unbounded one, noise, Square's result, clean twice, frozen.
    predictions = len(ascents) + steps + 1 + (SQUARE_QUERIES + 1) + 2 + 1
    return gradients, predictions
