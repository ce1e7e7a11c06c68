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
    except (OSError, RuntimeError, ValueError) as error:
        # A circle of links, or a null character.
        raise InputError(f"{name} is no path in {folder}: {error}") from error
    if not place.is_relative_to(root):
        raise InputError(f"{name} leads out of {folder} to {place}; put the file itself there (a hard link will do)")
    return path
