# SPDX-License-Identifier: Apache-2.0
"""Cards: TOML files checked against a pydantic model, with one-sentence errors."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from robust3d.foundation.errors import InputError, nearest


class Card(BaseModel):
    """Base of all card sections: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Reference(Card):
    """Where a card's method comes from."""

    paper: str
    equation: str = ""
    notes: str = ""


CardT = TypeVar("CardT", bound=Card)


def read_card(path: Path, kind: type[CardT]) -> CardT:
    """Read and check one card.

    Raises
    ------
    InputError
        If the file is missing, not TOML, or a key or value is wrong; names the file, the key and the nearest key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read card {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"card {path} is not valid TOML: {error}") from error
    return check_card(content, kind, where=f"card {path}")


def check_card(content: dict[str, Any], kind: type[CardT], *, where: str) -> CardT:
    """Turn parsed TOML into a card; see :func:`read_card`."""
    try:
        # Lax only for what TOML cannot say: an integer where a float is meant, an array where a tuple is.
        return kind.model_validate(content, strict=False)
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error, kind)}") from error


def _sentence(error: ValidationError, kind: type[BaseModel]) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {nearest(str(first['loc'][-1]), _keys_at(kind, first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"key {key!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"key {key!r}: {message[0].lower()}{message[1:]}, found {first['input']!r}" if key else message


def _keys_at(kind: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        field = kind.model_fields.get(str(part))
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        nested = [one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)]
        if not nested:
            return []
        kind = nested[0]
    return list(kind.model_fields)
