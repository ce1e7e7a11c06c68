# SPDX-License-Identifier: Apache-2.0
"""Cards: TOML files checked against a pydantic model, with one-sentence errors."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

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
    # An unknown key first: a required key that is misspelled is missing as well.
    errors = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    first = errors[0]
    key, known = _locate(kind, first["loc"])
    context = first.get("ctx", {})
    match first["type"]:
        case "extra_forbidden":
            return f"unknown key {key!r}; {nearest(str(first['loc'][-1]), known)}"
        case "missing":
            return f"key {key!r} is missing"
        case "union_tag_not_found":
            return f"key {_tag_key(key, context)!r} is missing"
        case "union_tag_invalid":
            tags = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
            return f"key {_tag_key(key, context)!r}: unknown {context['tag']!r}; {nearest(context['tag'], tags)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"key {key!r}: {message[0].lower()}{message[1:]}, found {first['input']!r}" if key else message


def _tag_key(key: str, context: dict[str, Any]) -> str:
    return f"{key}.{context['discriminator']}".replace("'", "")


def _locate(kind: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Return the key as the file writes it, and the keys known beside it."""
    key: list[str] = []
    known: list[str] = []
    models, tag_field = [kind], ""
    for part in location:
        if len(models) > 1:
            # Pydantic names the member of a tagged union here; the file has no such key.
            models = [one for one in models if part in get_args(one.model_fields[tag_field].annotation)]
            continue
        key.append(str(part))
        known = list(models[0].model_fields) if models else []
        field = models[0].model_fields.get(str(part)) if models else None
        candidates = [field.annotation, *get_args(field.annotation)] if field else []
        models = [one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)]
        tag_field = str(field.discriminator) if field else ""
    return ".".join(key), known
