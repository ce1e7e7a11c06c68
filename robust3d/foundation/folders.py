# SPDX-License-Identifier: Apache-2.0
"""Folders that appear whole or not at all: filled beside their place, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robust3d.foundation.errors import InputError

MANIFEST = "files.json"
"""Names the files that a program wrote into a folder, so that it never replaces anything else."""


@contextmanager
def replacing_folder(path: Path, kind: str) -> Iterator[Path]:
    """Give an empty temporary folder; when the block ends well, list its files in it and rename it to ``path``.

    If the block fails, the temporary folder is removed and an earlier ``path`` stays as it was.

    Parameters
    ----------
    path : Path
        A new folder, an empty one, or one of the same kind that this function made.
    kind : str
        What the folder is, such as ``"robust3d report"``.

    Raises
    ------
    InputError
        Before the block runs, if ``path`` holds anything else, which is named; if a folder cannot be written.
    """
    _refuse_others(path, kind)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.parent))
        new = temporary / "new"
        new.mkdir()
        yield new
        files = sorted(one.relative_to(new).as_posix() for one in new.rglob("*") if one.is_file())
        (new / MANIFEST).write_text(json.dumps({"kind": kind, "files": files}, indent=1) + "\n", encoding="utf-8")
        _refuse_others(path, kind)
        if path.exists():
            os.replace(path, temporary / "old")
        try:
            os.replace(new, path)
        except OSError:
            if (temporary / "old").exists():
                os.replace(temporary / "old", path)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write the folder {path}: {reason}; give another with --out") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _refuse_others(path: Path, kind: str) -> None:
    """Refuse a path that is no folder, or a folder with files that are not of this kind."""
    if not path.exists() and not path.is_symlink():
        return
    if path.is_symlink() or not path.is_dir():
        raise InputError(f"{path} is not a folder of its own; give another with --out")
    known = {*_listed(path / MANIFEST, kind), MANIFEST}
    for found in sorted(path.rglob("*")):
        name = found.relative_to(path).as_posix()
        if name not in known and not (found.is_dir() and not found.is_symlink()):
            raise InputError(
                f"{path} holds {name}, which is no part of a {kind}; move it away or give another folder with --out"
            )


def _listed(manifest: Path, kind: str) -> list[str]:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(content, dict) or content.get("kind") != kind:
        return []
    files = content.get("files")
    return [one for one in files if isinstance(one, str)] if isinstance(files, list) else []
