# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all: written beside their place, synced, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robust3d.foundation.digest import digest_json
from robust3d.foundation.errors import InputError

_STALE = 3600.0
"""Seconds after which a temporary file that nobody has written to belongs to a writer that was killed."""


def make_folder(path: Path) -> Path:
    """Create a folder for output, or say in one sentence why that is impossible.

    Raises
    ------
    InputError
        If the folder cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write to the output folder {path}: {reason}; give another with --out") from error
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path; when the block ends well, sync it and rename it to ``path``.

    The temporary name keeps the suffixes of ``path``, since writers such as nibabel choose the format by them.
    If the block fails, the temporary file is removed and an earlier ``path`` stays as it was.

    Raises
    ------
    InputError
        If the block or the rename fails with an ``OSError``: no folder, no permission, a full disk.
    """
    temporary: Path | None = None
    try:
        temporary = _temporary(path)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot write {path}: {reason}; make room or choose another folder (an earlier file is as it was)"
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to ``path`` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _temporary(path: Path) -> Path:
    """Make an empty file beside ``path`` and remove those that killed writers of ``path`` left there."""
    # A digest, since a name of its own length plus ours could be longer than a file system allows.
    prefix = f".partial-{digest_json(path.name)[:16]}-"
    handle, name = tempfile.mkstemp(prefix=prefix, suffix="".join(path.suffixes[-2:]), dir=path.parent)
    # By the clock of the file system: this machine's may be hours off, and another's file would go while it is written.
    now = os.fstat(handle).st_mtime
    os.close(handle)
    for stray in path.parent.glob(f"{prefix}*"):
        # Another writer may be removing it too.
        with suppress(OSError):
            if now - stray.stat().st_mtime > _STALE:
                stray.unlink()
    return Path(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    # The rename itself is durable only once the folder's entry is; not every file system can sync a folder.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
