# SPDX-License-Identifier: Apache-2.0
"""What became of a cell that was to be measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Outcome:
    """Outcome of one try at a cell.

    Parameters
    ----------
    state : str
        ``"measured"`` now or ``"stored"`` before, ``"failed"``, or ``"busy"``: another process measures it.
    key : str
        Of a finished cell, else empty.
    """

    state: Literal["measured", "stored", "failed", "busy"]
    key: str = ""
