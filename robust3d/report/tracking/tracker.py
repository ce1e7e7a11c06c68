# SPDX-License-Identifier: Apache-2.0
"""Tracker: where parameters, metrics by step and files of a run are logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """What a run needs of a tracker; names hold ``/`` between their parts."""

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log settings, once a run."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log finite numbers at a step."""

    def artefact(self, path: Path) -> None:
        """Log a file."""

    def close(self) -> None:
        """Write what is left."""


@dataclass(frozen=True)
class Trackers:
    """All trackers of a run; none is fine.

    Parameters
    ----------
    all : sequence of Tracker
        Each gets everything.
    """

    all: Sequence[Tracker]

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log settings."""
        for tracker in self.all:
            tracker.parameters(values)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers at a step."""
        for tracker in self.all:
            tracker.metrics(values, step)

    def artefact(self, path: Path) -> None:
        """Log a file."""
        for tracker in self.all:
            tracker.artefact(path)

    def close(self) -> None:
        """Write what is left."""
        for tracker in self.all:
            tracker.close()


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by names such as ``"threat/epsilon"``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = value
    return found
