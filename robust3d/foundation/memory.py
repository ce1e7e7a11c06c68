# SPDX-License-Identifier: Apache-2.0
"""How much memory a process may have, and telling a lack of it from other failures."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

from robust3d.foundation.errors import InputError

_LIMITS = ("/sys/fs/cgroup{group}/memory.max", "/sys/fs/cgroup/memory{group}/memory.limit_in_bytes")
"""Files that hold the limit of a control group, versions 2 and 1."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out; torch's CPU allocator raises a plain RuntimeError."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def memory_limit() -> int | None:
    """Return the bytes that this process may have: of the machine, its control group or its limit; ``None`` if unknown.

    What others use at the moment does not count, so that the same file is refused in every run or in none.
    """
    found = []
    with suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        found.append(address_space)
    for group in ("", *_groups()):
        for pattern in _LIMITS:
            # Version 2 says "max" where there is no limit.
            with suppress(OSError, ValueError):
                found.append(int(Path(pattern.format(group=group)).read_text(encoding="ascii")))
    return min(found, default=None)


def check_fits(needed: int, what: str) -> None:
    """Refuse what cannot fit into memory before anything is allocated for it.

    Parameters
    ----------
    needed : int
        Bytes that it takes at least.
    what : str
        Its name, for the message.

    Raises
    ------
    InputError
        If this process may not have so many.
    """
    limit = memory_limit()
    if limit is not None and needed > limit:
        raise InputError(
            f"{what} takes at least {needed / 2**30:.1f} GiB of memory and {limit / 2**30:.1f} GiB are there; crop or "
            "resample it, or use a machine with more"
        )


def _groups() -> list[str]:
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [path for path in (line.split(":", 2)[-1] for line in lines) if path != "/"]
