# SPDX-License-Identifier: Apache-2.0
"""The step of a library's attack, in the unit of the threat model or as a fraction of epsilon."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import PositiveFloat

from robust3d.foundation.cards import Card
from robust3d.foundation.errors import InputError
from robust3d.threat.model import ThreatModel


class Step(Card):
    """Fields of an attack that steps.

    Parameters
    ----------
    step_size : float or None
        Step alpha in ``step_unit``, whatever epsilon is.
    step_unit : str or None
        Unit of ``step_size``; the threat model must have the same.
    relative_step : float or None
        Step as a fraction of epsilon; give this or ``step_size``.
    """

    step_size: PositiveFloat | None = None
    step_unit: str | None = None
    relative_step: PositiveFloat | None = None

    def check_unit(self, attack: str, threat: ThreatModel) -> None:
        """Refuse a step in another unit than the threat model's.

        Raises
        ------
        InputError
            With the alternative.
        """
        if self.step_unit is not None and self.step_unit != threat.unit:
            raise InputError(
                f"attack {attack} steps in {self.step_unit} and the threat model is in {threat.unit}; "
                "give relative_step instead, or another threat model"
            )

    def step(self, threat: ThreatModel) -> float:
        """Return the step in the unit of the threat model."""
        return self.step_size if self.step_size is not None else (self.relative_step or 0.0) * threat.epsilon


def check_fields(attack: Any, called: str, needs: Collection[str], *, optional: Collection[str]) -> None:
    """Refuse hyperparameters that the library's attack does not have, and a lack of those that it has.

    Parameters
    ----------
    attack : attack with the fields of :class:`Step` and ``steps``
        As its card has it.
    called : str
        The library's name of it.
    needs : collection of str
        Fields that it has; ``"step"`` for those of :class:`Step`.
    optional : collection of str
        Fields that are ``None`` unless the card gives them.

    Raises
    ------
    InputError
        With what to add or leave out.
    """
    step = [name for name in Step.model_fields if getattr(attack, name) is not None]
    if "step" in needs and step not in (["step_size", "step_unit"], ["relative_step"]):
        raise InputError(f"attack {attack.name}: give either step_size with step_unit, or relative_step")
    given = [name for name in optional if getattr(attack, name) is not None]
    if "steps" in attack.model_fields_set and (attack.steps > 1 or "steps" in needs):
        given.append("steps")
    extra = [*([] if "step" in needs else step), *(name for name in given if name not in needs)]
    missing = [name for name in needs if name != "step" and name not in given]
    if extra:
        raise InputError(f"attack {attack.name}: {called} has no {extra[0]}; leave it out")
    if missing:
        raise InputError(f"attack {attack.name}: {called} needs {missing[0]}")
