# SPDX-License-Identifier: Apache-2.0
"""The run folder: one JSON file a cell, named by its identity, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from robust3d.benchmarks.cell import SCHEMA, ticket_of
from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder, write_text


class Store:
    """Cells of a run folder.

    Parameters
    ----------
    root : Path
        The folder; it and its parts are made by what is written first.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._cells = root / "cells"
        self._failed = root / "failed"
        self._aliases = root / "aliases"

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

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Keep a finished cell; forget an earlier failure."""
        make_folder(self._cells)
        write_text(self._cells / f"{key}.json", json.dumps(record, indent=1, sort_keys=True) + "\n")
        self.recall(ticket_of(record))

    def found(self, key: str, ticket: str) -> dict[str, Any] | None:
        """Return a finished cell, or ``None``; from then on its ticket counts as finished, and no more as failed.

        The ticket is not the record's where the same volume has another name, in this run or in one before.

        Raises
        ------
        InputError
            If its file is damaged.
        """
        record = self.get(key)
        if record is not None:
            self.recall(ticket)
            alias = self._aliases / f"{ticket}.json"
            if ticket_of(record) != ticket and not alias.exists():
                make_folder(self._aliases)
                write_text(alias, json.dumps({"cell": key}) + "\n")
        return record

    def recall(self, ticket: str) -> None:
        """Forget a failure."""
        (self._failed / f"{ticket}.json").unlink(missing_ok=True)

    def fail(self, ticket: str, names: dict[str, Any], reason: str, *, set_aside: bool = False) -> None:
        """Record why a cell could not be measured; the next run tries it again.

        Parameters
        ----------
        ticket : str
            Of the cell; see :meth:`Cell.ticket`.
        names : dict
            What the cell is called.
        reason : str
            A sentence.
        set_aside : bool
            It ended the workers that tried it.
        """
        make_folder(self._failed)
        content = {**names, "reason": reason, "set_aside": set_aside}
        write_text(self._failed / f"{ticket}.json", json.dumps(content, indent=1) + "\n")

    def failed_since(self, ticket: str, moment: int) -> bool:
        """Return whether a cell failed after a moment of :meth:`now`."""
        try:
            return (self._failed / f"{ticket}.json").stat().st_mtime_ns >= moment
        except OSError:
            return False

    def now(self) -> int:
        """Return the time of the folder's own clock in nanoseconds: a file server's may differ from this machine's.

        Raises
        ------
        InputError
            If the folder cannot be written, or the disk is full.
        """
        try:
            with tempfile.TemporaryFile(dir=self.root) as probe:
                return os.fstat(probe.fileno()).st_mtime_ns
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"cannot write to the output folder {self.root}: {reason}; make room in it") from error

    def finished(self) -> dict[str, float]:
        """Return the seconds that each finished cell took, by ticket.

        Raises
        ------
        InputError
            If a file is damaged.
        """
        seconds = {record["cell"]: (ticket_of(record), float(record["seconds"])) for record in self.records()}
        found = dict(seconds.values())
        for path in self._aliases.glob("[!.]*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                found[path.stem] = seconds[json.loads(path.read_text(encoding="utf-8"))["cell"]][1]
        return found

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield all finished cells by their keys.

        Raises
        ------
        InputError
            If a file is damaged.
        """
        for path in sorted(self._cells.glob("[!.]*.json")):
            record = self.get(path.stem)
            if record is not None and record.get("schema") == SCHEMA:
                yield record

    def failures(self) -> dict[str, dict[str, Any]]:
        """Return what failed, by ticket."""
        found = {}
        for path in sorted(self._failed.glob("[!.]*.json")):
            # Another process may finish the cell meanwhile, and its failure is gone.
            with suppress(OSError, ValueError):
                found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        return found
