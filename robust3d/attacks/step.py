# SPDX-License-Identifier: Apache-2.0
"""The step of an attack, in the unit of the threat model or as a fraction of epsilon."""

from __future__ import annotations

from pydantic import PositiveFloat

from robust3d.foundation.cards import Card
from robust3d.foundation.errors import InputError
from robust3d.threat.model import ThreatModel


class Step(Card):
    """Fields of an attack that steps.

    Parameters
    ----------
    step_size : float or None
        Step alpha in ``step_unit``, whatever epsilon is; of channels with smaller bounds, in proportion.
    step_unit : str or None
        Unit of ``step_size``; the threat model must have the same.
    relative_step : float or None
        Step as a fraction of epsilon; give this or ``step_size``.
    """

    step_size: PositiveFloat | None = None
    step_unit: str | None = None
    relative_step: PositiveFloat | None = None

    def check_step(self, attack: str) -> None:
        """Refuse a step that is missing, given twice, or without its unit.

        Raises
        ------
        InputError
            With what to add or leave out.
        """
        if (self.step_size is None) == (self.relative_step is None):
            raise InputError(f"attack {attack}: give either step_size with step_unit, or relative_step")
        if self.step_size is not None and self.step_unit is None:
            raise InputError(f"attack {attack}: step_size {self.step_size:g} has no unit; add step_unit")
        if self.relative_step is not None and self.step_unit is not None:
            raise InputError(f"attack {attack}: relative_step is a fraction of epsilon; leave step_unit out")

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
