# SPDX-License-Identifier: Apache-2.0
"""Workers that ended in a cell: counted in the run folder, for all machines together."""

from __future__ import annotations

import uuid

from robust3d.benchmarks.store import Store
from robust3d.foundation.files import make_folder, write_text

LIMIT = 2
"""Workers that a cell may end before it is set aside."""


class Losses:
    """One file ``losses/TICKET.*`` a lost worker.

    Parameters
    ----------
    store : Store
        The run folder.
    """

    def __init__(self, store: Store) -> None:
        self._folder = make_folder(store.root / "losses")

    def add(self, ticket: str, reason: str) -> list[str]:
        """Note a lost worker and return the reasons of all that the cell has ended."""
        write_text(self._folder / f"{ticket}.{uuid.uuid4().hex}", f"{reason}\n")
        return [path.read_text(encoding="utf-8").strip() for path in sorted(self._folder.glob(f"{ticket}.*"))]

    def forget(self, ticket: str) -> None:
        """Forget the losses of a cell that is finished or set aside."""
        for path in self._folder.glob(f"{ticket}.*"):
            path.unlink(missing_ok=True)
