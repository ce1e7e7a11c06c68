# SPDX-License-Identifier: Apache-2.0
"""Claims: who measures a cell, so that processes and machines that share a folder do not measure it twice.

A claim is the file ``claims/TICKET.N``, created exclusively, which is atomic on network file systems too. It is stale
when its process has ended on this machine, or when nobody has renewed it for a lease. It is taken over by creation of
``TICKET.N+1``, which one process alone can do. A lost race costs time, never a result: cells are written whole, and
whoever measures one finds the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from robust3d.benchmarks.scale.processes import is_running, started, this_host
from robust3d.benchmarks.store import Store
from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder

LEASE = 120.0
"""Seconds for which a claim of another machine holds after it was last renewed; file servers may show times late."""


@dataclass(frozen=True)
class Claim:
    """A claim as it stands in its file.

    Parameters
    ----------
    ticket : str
        Of the cell.
    generation : int
        How often it was taken over.
    host : str
        See :func:`this_host`.
    pid, start : int, str
        Process that holds it, and when that started.
    renewed : int
        The folder's time in nanoseconds.
    """

    ticket: str
    generation: int
    host: str
    pid: int
    start: str
    renewed: int


class Claims:
    """Claims of this process and of others in a run folder.

    Parameters
    ----------
    store : Store
        The run folder.
    lease : float
        Seconds; the same for all who share the folder.
    """

    def __init__(self, store: Store, lease: float = LEASE) -> None:
        self._store = store
        self._lease = lease
        self._folder = store.root / "claims"
        self._held: Path | None = None

    @contextmanager
    def hold(self, ticket: str) -> Iterator[bool]:
        """Claim a cell for the block; gives whether that was possible, and otherwise another holds it."""
        path = self._take(ticket)
        self._held = path
        try:
            yield path is not None
        finally:
            self._held = None
            if path is not None:
                path.unlink(missing_ok=True)

    def renew(self) -> None:
        """Renew the claim that this process holds, if any."""
        held = self._held
        if held is not None:
            # Released meanwhile, or taken over from a process that was suspended.
            with suppress(OSError):
                os.utime(held)

    def drop(self, pid: int) -> None:
        """Release the claims of a process of this host that has ended."""
        for claim in self._read("[!.]*"):
            if (claim.host, claim.pid) == (this_host(), pid):
                (self._folder / f"{claim.ticket}.{claim.generation}").unlink(missing_ok=True)

    def live(self, now: int) -> list[Claim]:
        """Return all claims that are not stale at a moment, in nanoseconds of the folder's clock."""
        found = {}
        for claim in sorted(self._read("[!.]*"), key=lambda one: one.generation):
            found[claim.ticket] = claim
        return [claim for claim in found.values() if self._holds(claim, now)]

    def _take(self, ticket: str) -> Path | None:
        make_folder(self._folder)
        earlier = list(self._read(ticket))
        last = max(earlier, key=lambda one: one.generation, default=None)
        if last is not None and self._holds(last, self._store.now()):
            return None
        path = self._folder / f"{ticket}.{0 if last is None else last.generation + 1}"
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump({"host": this_host(), "pid": os.getpid(), "start": started(os.getpid())}, file)
        except FileExistsError:
            return None
        except OSError as error:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise InputError(f"cannot write claim {path}: {error.strerror or error}; make room for it") from error
        for claim in earlier:
            (self._folder / f"{ticket}.{claim.generation}").unlink(missing_ok=True)
        return path

    def _holds(self, claim: Claim, now: int) -> bool:
        if claim.host == this_host() and not is_running(claim.pid, claim.start):
            return False
        # A clock that was set back leaves claims of the future, which would hold until it is there again.
        return abs(now - claim.renewed) < self._lease * 1e9

    def _read(self, pattern: str) -> Iterator[Claim]:
        for path in self._folder.glob(f"{pattern}.*"):
            ticket, _, generation = path.name.partition(".")
            if not generation.isdecimal():
                continue
            try:
                # Opened before its time is read, so that a network file system asks the server for both.
                with path.open(encoding="utf-8") as file:
                    renewed = os.fstat(file.fileno()).st_mtime_ns
                    owner = json.loads(file.read() or "null")
            except OSError:
                continue
            except ValueError:
                owner = None
            # Without an owner it is being written right now, or its writer was ended at that: the lease decides.
            if not isinstance(owner, dict):
                owner = {"host": "", "pid": 0, "start": ""}
            yield Claim(ticket, int(generation), owner["host"], owner["pid"], owner["start"], renewed)
