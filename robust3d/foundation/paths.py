# SPDX-License-Identifier: Apache-2.0
"""Paths that files from strangers name: they stay in the folder that they are relative to."""

from __future__ import annotations

from pathlib import Path

from robust3d.foundation.errors import InputError


def inside(folder: Path, name: str | Path) -> Path:
    """Return ``folder / name``, which need not exist.

    Raises
    ------
    InputError
        If it leads out of the folder: as an absolute path, by ``..`` or through a symbolic link.
    """
    path = folder / name
    try:
        place, root = path.resolve(), folder.resolve()
        # A name that is too long can be resolved, but not looked up.
        place.exists()
    except (OSError, RuntimeError, ValueError) as error:
        # A circle of links, a null character or a name that is too long.
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{str(name)[:80]} is no path in {folder}: {reason}") from error
    if not place.is_relative_to(root):
        raise InputError(f"{name} leads out of {folder} to {place}; put the file itself there (a hard link will do)")
    return path
