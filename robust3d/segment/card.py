# SPDX-License-Identifier: Apache-2.0
"""What training and model cards say alike about intensities."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from robust3d.foundation.cards import Card


class IntensitySettings(Card):
    """Truncation window in the unit of the volumes, none by default (MR); z-score per case follows."""

    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("needs both low and high, or neither for no truncation")
        return self

    @property
    def window(self) -> tuple[float, float] | None:
        """Lowest and highest value that the network sees."""
        return None if self.low is None or self.high is None else (self.low, self.high)
