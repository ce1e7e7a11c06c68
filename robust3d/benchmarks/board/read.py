# SPDX-License-Identifier: Apache-2.0
"""Reading an entry: everything that is wrong with its form, at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from robust3d.benchmarks.board.entry import SCHEMA, Entry, Part
from robust3d.foundation.errors import InputError

PartT = TypeVar("PartT", bound=Part)

_SHOWN = 20
"""Problems that a message holds; the rest is counted."""


class EntryError(InputError):
    """An entry, or a collection of them, cannot be used.

    Parameters
    ----------
    problems : iterable of str
        Each a clause without a full stop, with the file that it is about.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problems: " if len(self.problems) > 1 else ""
        more = f"; and {len(self.problems) - _SHOWN} more" if len(self.problems) > _SHOWN else ""
        super().__init__(f"{count}{'; '.join(self.problems[:_SHOWN])}{more}")


def read_entry(path: Path) -> Entry:
    """Read one entry and check its form, not yet its figures.

    Raises
    ------
    EntryError
        If it cannot be read, is not JSON, has another schema, or keys or values are wrong; names each of them.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else None
        raise EntryError(
            [f"{path} has schema {found!r} and entries have schema {SCHEMA}; make it with robust3d leaderboard add"]
        )
    return checked_part(content, Entry, where=str(path))


def checked_part(content: Mapping[str, Any], kind: type[PartT], *, where: str) -> PartT:
    """Return an entry or a part of one from JSON-ready content.

    Raises
    ------
    EntryError
        If keys or values are wrong; names each of them after ``where``.
    """
    try:
        # As JSON, since pydantic's strict rules for it are those wanted here; for Python objects they refuse arrays.
        return kind.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        raise EntryError(f"{where}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors) from error
    except InputError as error:
        raise EntryError([f"{where}: {error}"]) from error


def schema_text(kind: type[Part]) -> str:
    """Return the JSON schema of an entry or a board as text."""
    return json.dumps(kind.model_json_schema(), indent=1) + "\n"


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises
    ------
    EntryError
        If it cannot be read, is not JSON, or holds a number that JSON does not have.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise EntryError([f"{path} cannot be read as JSON: {error}"]) from error
