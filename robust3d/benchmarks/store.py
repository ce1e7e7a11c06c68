# SPDX-License-Identifier: Apache-2.0
"""The run folder: one JSON file a cell, named by its identity, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder, write_text


class Store:
    """Cells of a run folder.

    Parameters
    ----------
    root : Path
        The folder; ``cells/`` and ``failed/`` are made in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = make_folder(root)
        self._cells = make_folder(root / "cells")
        self._failed = root / "failed"

    def get(self, key: str) -> dict[str, Any] | None:
        """Return a finished cell, or ``None``.

        Raises
        ------
        InputError
            If its file is damaged.
        """
        path = self._cells / f"{key}.json"
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"cell {path} cannot be read: {error}; delete it to compute it anew") from error
        if not isinstance(content, dict) or content.get("cell") != key:
            raise InputError(f"cell {path} does not hold the cell of its name; delete it to compute it anew")
        return content

    def has(self, key: str) -> bool:
        """Return whether a cell is finished, without reading it."""
        return (self._cells / f"{key}.json").exists()

    def records(self) -> list[dict[str, Any]]:
        """Return all finished cells, in no particular order.

        Raises
        ------
        InputError
            If a file is damaged.
        """
        return [found for path in sorted(self._cells.glob("[!.]*.json")) if (found := self.get(path.stem))]

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Keep a finished cell; forget an earlier failure."""
        write_text(self._cells / f"{key}.json", json.dumps(record, indent=1, sort_keys=True) + "\n")
        self.forget(key)

    def forget(self, key: str) -> None:
        """Forget an earlier failure."""
        (self._failed / f"{key}.json").unlink(missing_ok=True)

    def fail(self, key: str, names: dict[str, Any], reason: str) -> None:
        """Record why a cell could not be measured; the next run tries it again."""
        make_folder(self._failed)
        write_text(self._failed / f"{key}.json", json.dumps({**names, "reason": reason}, indent=1) + "\n")
