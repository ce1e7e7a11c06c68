# SPDX-License-Identifier: Apache-2.0
"""What a training run tells a tracker."""

from __future__ import annotations

from robust3d.defenses.optimisation import learning_rate
from robust3d.defenses.recipe import Recipe
from robust3d.defenses.validation import Validation
from robust3d.report.tracking.tracker import Tracker, flat


def track_recipe(tracker: Tracker, recipe: Recipe) -> None:
    """Log all settings of the card."""
    tracker.parameters(flat(recipe.model_dump(mode="json", exclude={"reference"}, exclude_none=True)))


def track_step(
    tracker: Tracker, recipe: Recipe, stage: str, done: int, loss: float, validation: Validation | None
) -> None:
    """Log loss and learning rate of a step, and the DSC in percent where it was validated.

    Parameters
    ----------
    tracker : Tracker
        Where to.
    recipe : Recipe
        The card.
    stage : str
        ``"coarse"`` or ``"fine"``, the first part of every name.
    done : int
        Steps done, this one included.
    loss : float
        Of this step.
    validation : Validation or None
        After this step.
    """
    values = {"loss": loss, "learning_rate": learning_rate(recipe.stages[stage], done - 1)}
    if validation is not None:
        figures = {name: getattr(validation, name) for name in ("clean_dsc", "robust_dsc", "fgsm_dsc")}
        values |= {f"validation_{name}": 100 * value for name, value in figures.items() if value is not None}
    tracker.metrics({f"{stage}/{name}": value for name, value in values.items()}, done)
