# SPDX-License-Identifier: Apache-2.0
"""Who a process is, and whether it still runs."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path


@cache
def this_host() -> str:
    """Return a name for the set of processes that this one can see: machine, boot and process namespace."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; empty where the system does not tell.

    Process numbers come again; number and start do not.
    """
    return (_stat(pid) or ("", ""))[1]


def is_running(pid: int, start: str) -> bool:
    """Return whether the process of this number that started then still runs on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    found = _stat(pid)
    # A zombie has ended; only its parent has not taken note yet.
    return found is None or (found[0] != "Z" and found[1] == start)


@contextmanager
def terminating_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM raise ``KeyboardInterrupt`` in the block, so that a run that must make room releases its claims.

    Python drops an interrupt that comes while an object is finalised, with a traceback; it is sent once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = sys.unraisablehook

    def again(dropped: sys.UnraisableHookArgs) -> None:
        if dropped.exc_type is KeyboardInterrupt:
            # By a thread: here, it would come while the object is finalised still.
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM)).start()
        else:
            told(dropped)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = told
        signal.signal(signal.SIGTERM, before)


def _stat(pid: int) -> tuple[str, str] | None:
    """Return state and start of a process, fields 3 and 22 of Linux's ``/proc/PID/stat``."""
    try:
        # The name of the program, in brackets, may hold spaces and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], fields[19]
