# SPDX-License-Identifier: Apache-2.0
"""Dataset: an ordered set of named cases that are loaded one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from robust3d.volume.volume import Volume


class Dataset(Protocol):
    """What training and benchmarks need of a dataset."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the cases in order."""

    @property
    def channels(self) -> int:
        """Number of channels of every case."""

    def load(self, name: str) -> Volume:
        """Return one case, with its label."""

    def origin(self, name: str) -> str:
        """Return where a case comes from, for messages."""
