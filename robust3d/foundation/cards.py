# SPDX-License-Identifier: Apache-2.0
"""Cards: TOML files checked against a pydantic model, with one-sentence errors."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from robust3d.foundation.errors import InputError, nearest
from robust3d.foundation.text import refuse_control

SCHEMA = 1
"""Version of the keys of cards; a card may state it as ``schema``, and those before the next version need not."""


_MEMBER = re.compile(r"(constrained-)?(float|int|str|bool)|(tuple|list)\[.*\]")
"""What pydantic calls one of several types that a value may have."""


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
        If the file is missing, not TOML, of another schema, or a key or value is wrong; names the file, the key and the
        nearest key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read card {path}: {error}") from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"card {path} is not valid TOML: {error}") from error
    stated = content.pop("schema", SCHEMA)
    if type(stated) is not int or stated != SCHEMA:
        raise InputError(
            f"card {path} has schema {stated!r} and this robust3d reads schema {SCHEMA}; use the version of robust3d "
            "that it was written for (docs/releases.md)"
        )
    return check_card(content, kind, where=f"card {path}")


def check_card(content: dict[str, Any], kind: type[CardT], *, where: str) -> CardT:
    """Turn parsed TOML into a card; see :func:`read_card`.

    An array serves for a tuple and 10 for 10.0, but no text and no boolean for a number, nor the other way round.
    """

    def refuse(value: object) -> str:
        raise InputError(
            f"{where}: {value!r} is of type {type(value).__name__}; a card holds text, numbers, booleans, arrays and "
            "tables"
        )

    try:
        for text in _texts(content):
            refuse_control(text)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    try:
        # As JSON, since pydantic's strict rules for it are those wanted here; for Python objects they refuse arrays.
        return kind.model_validate_json(json.dumps(content, default=refuse), strict=True)
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error, kind)}") from error


def _texts(content: object) -> Iterator[str]:
    """Yield every key and every text of parsed TOML."""
    # A stack and no recursion, which nested arrays could exhaust.
    left = [content]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            left += one


def _sentence(error: ValidationError, kind: type[BaseModel]) -> str:
    errors = error.errors(include_url=False)
    # A mistyped key is also a missing one; naming what was written helps more.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    if first["type"].endswith("_type"):
        # Of a value of several types, the one that fits furthest.
        same = [one for one in errors if _field(one["loc"]) == _field(first["loc"])]
        first = max(same, key=lambda one: len(one["loc"]))
    shown, known = _walk(kind, first["loc"])
    key = ".".join(shown)
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {nearest(shown[-1], known)}"
    if first["type"] == "missing":
        return f"key {key!r} is missing"
    if first["type"].startswith("union_tag"):
        context = first["ctx"]
        tag_key = f"{key}.{context['discriminator']}".replace("'", "")
        if first["type"] == "union_tag_not_found":
            return f"key {tag_key!r} is missing"
        tags = context["expected_tags"].replace("'", "").split(", ")
        return f"key {tag_key!r}: unknown {context['tag']!r}; {nearest(context['tag'], tags)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"key {key!r}: {message[0].lower()}{message[1:]}, found {first['input']!r}" if key else message


def _field(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return an error's location down to the first name that pydantic gives to one of several types."""
    return tuple(takewhile(lambda part: not _MEMBER.fullmatch(str(part)), location))


def _walk(kind: type[BaseModel], location: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """Return the keys of an error's location without the tags of unions, and the keys that its table may hold."""
    tables, shown, known = [kind], [], list(kind.model_fields)
    for part in map(str, location):
        tagged = [table for table in tables if part in _tags(table)]
        if tagged:
            tables = tagged
            known = list(tables[0].model_fields)
            continue
        if not tables and _MEMBER.fullmatch(part):
            continue
        shown.append(part)
        known = [key for table in tables for key in table.model_fields]
        tables = [inner for table in tables for inner in _tables(table, part)]
    return shown, known


def _tables(table: type[BaseModel], key: str) -> list[type[BaseModel]]:
    field = table.model_fields.get(key)
    annotations = [field.annotation, *get_args(field.annotation)] if field else []
    return [one for one in annotations if isinstance(one, type) and issubclass(one, BaseModel)]


def _tags(table: type[BaseModel]) -> set[str]:
    """Return the values of a table's literal keys, which pydantic shows as the tag of a union."""
    return {
        str(value)
        for field in table.model_fields.values()
        if get_origin(field.annotation) is Literal
        for value in get_args(field.annotation)
    }
