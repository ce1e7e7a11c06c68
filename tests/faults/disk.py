# SPDX-License-Identifier: Apache-2.0
"""Faults of disks and clocks, put into a process before its command begins."""

import builtins
import errno
import io
import os
import random
import resource
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def full_after(folder: str, count: int, tally: str) -> None:
    """Let the disk be full from the ``count``-th change within a folder on; the number of changes is kept in ``tally``.

    A change is the creation of a file, its synchronisation, a rename or a new folder.
    """
    changes = 0
    real_open, real_os_open, real_sync, real_replace, real_mkdir = io.open, os.open, os.fsync, os.replace, os.mkdir

    def change(path: object) -> None:
        nonlocal changes
        if not os.path.abspath(os.fspath(path)).startswith(folder):  # type: ignore[call-overload]
            return
        changes += 1
        descriptor = real_os_open(tally, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(descriptor, str(changes).encode())
        os.close(descriptor)
        if changes > count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def opened(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        if not isinstance(file, int) and set(mode) & set("wxa+"):
            change(file)
        return real_open(file, mode, *more, **options)

    def os_opened(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if flags & (os.O_CREAT | os.O_TMPFILE):
            change(path)
        return real_os_open(path, flags, *more, **options)

    def synced(descriptor: int) -> None:
        change(os.readlink(f"/proc/self/fd/{descriptor}"))
        real_sync(descriptor)

    def replaced(source: Any, target: Any, **options: Any) -> None:
        change(target)
        real_replace(source, target, **options)

    def made(path: Any, *more: Any, **options: Any) -> None:
        if not os.path.exists(path):
            change(path)
        real_mkdir(path, *more, **options)

    io.open = builtins.open = opened  # type: ignore[assignment]
    os.open, os.fsync, os.replace, os.mkdir = os_opened, synced, replaced, made  # type: ignore[assignment]


def limit_files(size: int) -> None:
    """Let every file end after so many bytes, in the middle of a write."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def vanish(folder: str, seconds: float) -> None:
    """Remove a folder after a while."""
    _later(seconds, lambda: shutil.rmtree(folder, ignore_errors=True))


def jump(seed: int) -> None:
    """Let every reading of the wall clock be up to ten days off, in either direction."""
    draw = random.Random(seed)
    real = time.time
    time.time = lambda: real() + draw.uniform(-1, 1) * 864_000
    time.time_ns = lambda: int(time.time() * 1e9)


def jump_of_folder(folder: str, seed: int) -> None:
    """Let the clock of a folder jump by up to ten days, ten times a second, as seen in the times of its claims."""
    draw = random.Random(seed)

    def shift() -> None:
        while True:
            for path in Path(folder).glob("claims/*"):
                moment = time.time() + draw.uniform(-1, 1) * 864_000
                try:
                    os.utime(path, (moment, moment))
                except OSError:
                    continue
            time.sleep(0.1)

    _later(0.0, shift)


def _later(seconds: float, act: Callable[[], object]) -> None:
    def wait() -> None:
        time.sleep(seconds)
        act()

    threading.Thread(target=wait, daemon=True).start()
