# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import numpy as np
import pytest

from robust3d.defenses.recipe import Recipe
from robust3d.foundation.cards import check_card
from robust3d.volume.volume import Volume


def ball_cases() -> list[Volume]:
    """Return three volumes with a bright ball on a noisy ground."""
    made = []
    for number in range(3):
        random = np.random.default_rng(number)
        image = random.normal(20, 30, (24, 20, 18)).astype(np.float32)
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij"))
        ball = np.square(grid - random.integers(7, 11, 3)[:, None, None, None]).sum(0) < 20
        image[ball] += 120
        made.append(
            Volume(image=image, label=ball.astype(np.uint8), affine=np.eye(4), spacing=(1, 1, 1), name=f"ball_{number}")
        )
    return made


@pytest.fixture
def cases() -> list[Volume]:
    """Three volumes with a bright ball on a noisy ground."""
    return ball_cases()


MakeRecipe = Callable[..., Recipe]

BALL = {"epsilon": 10.2, "unit": "HU", "warmup": 0.3}
STEPS = BALL | {"step_size": 3.4, "steps": 2}
ADVERSARIES: dict[str, dict[str, object]] = {
    "pgd": STEPS,
    "trades": STEPS | {"beta": 2},
    "fast": BALL,
    "free": BALL | {"replays": 3},
    "segpgd": STEPS,
    "adaptive": STEPS | {"until_dsc": 0.01},
    "vaft": BALL | {"steps": 2, "step_size": 5, "q_max": 20, "block": 8},
    "noise": BALL | {"sigma": 10.2},
}
"""A section ``adversary`` for each algorithm, without the key ``algorithm``."""

UNBOUNDED = {"noise", "vaft"}
"""Algorithms whose epsilon is of validation alone."""


def adversary_section(algorithm: str, **changes: object) -> dict[str, object]:
    """Return the section of an algorithm with some keys changed."""
    return {"algorithm": algorithm} | ADVERSARIES[algorithm] | changes


def build_recipe(
    *,
    adversary: bool | dict[str, object] = False,
    fine: bool = False,
    network: dict[str, object] | None = None,
    **stage: object,
) -> Recipe:
    settings = {
        "iterations": 12,
        "batch": 2,
        "window": 16,
        "sampling": "anywhere",
        "centred": 0.5,
        "learning_rate": 0.05,
        "validate_every": 5,
        "validation_windows": 4,
        "checkpoint_every": 4,
    } | stage
    content: dict[str, object] = {
        "seed": 3,
        "recipe": {"name": "test", "description": "test"},
        "reference": {"paper": "none"},
        "data": {"source": "folder", "train_cases": 2, "validation_cases": 1},
        "network": network or {"name": "resdsn", "width": 2},
        "intensity": {"low": -100, "high": 240},
        "coarse": settings,
        "deploy": {"coarse_grid": "overlap(0.5)"},
    }
    if fine:
        content["fine"] = settings | {"sampling": "foreground", "centred": 0.0, "start": "coarse"}
        content["deploy"] = {"coarse_grid": "overlap(0.5)", "fine_grid": "overlap(0.5)", "margin": [2, 2, 2]}
    if adversary:
        content["adversary"] = adversary_section("pgd") if adversary is True else adversary
    return check_card(content, Recipe, where="test")


@pytest.fixture
def make_recipe() -> MakeRecipe:
    return build_recipe
