# SPDX-License-Identifier: Apache-2.0
"""Tracker: where parameters, metrics by step and files of a run are logged."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
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

    def close(self, *, failed: bool) -> None:
        """Write what is left, and whether the run ended by an error."""


class Trackers:
    """All trackers of a run; none is fine. One that fails is told of once and gets no more: the run goes on."""

    def __init__(self) -> None:
        self._trackers: list[Tracker] = []

    def add(self, tracker: Tracker) -> None:
        """Let a tracker get everything from now on."""
        self._trackers.append(tracker)

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log settings."""
        self._each(lambda tracker: tracker.parameters(values))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers at a step."""
        self._each(lambda tracker: tracker.metrics(values, step))

    def artefact(self, path: Path) -> None:
        """Log a file."""
        self._each(lambda tracker: tracker.artefact(path))

    def close(self, *, failed: bool) -> None:
        """Write what is left, and whether the run ended by an error."""
        self._each(lambda tracker: tracker.close(failed=failed))

    def _each(self, log: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                log(tracker)
            # Servers and their clients fail in ways of their own, and none is worth the run.
            except Exception as error:  # noqa: BLE001
                self._trackers.remove(tracker)
                warnings.warn(
                    f"{type(tracker).__name__} failed and is left out from now on: {error}",
                    RuntimeWarning,
                    stacklevel=3,
                )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by names such as ``"threat/epsilon"``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = value
    return found
