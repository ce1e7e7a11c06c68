# SPDX-License-Identifier: Apache-2.0
"""The configuration of a MONAI bundle as plain data: references are followed, expressions are never run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robust3d.foundation.errors import InputError

_META = ("_target_", "_disabled_", "_requires_", "_desc_", "_mode_")
_DEEPEST = 32


class BundleConfig:
    """One JSON file of a bundle.

    Parameters
    ----------
    path : Path
        Such as ``configs/inference.json``.

    Raises
    ------
    InputError
        If it is missing or no JSON object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"cannot read {path}: {error}") from error
        if not isinstance(content, dict):
            raise InputError(f"{path} holds a {type(content).__name__}; it must be a JSON object")
        self._content: dict[str, Any] = content

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def value(self, key: str) -> Any:
        """Return the value at ``a::b::0``; a reference is followed, those inside the value are not.

        Raises
        ------
        InputError
            If it is absent, or an expression.
        """
        return self.resolved(self._at(key), key, deep=False)

    def resolved(self, value: Any, key: str, *, deep: bool = True, depth: int = 0) -> Any:
        """Return ``value``, which stands at ``key``, with references (``@a::b``, ``%a::b``) followed.

        Raises
        ------
        InputError
            If it is an expression (``$...``), or a reference to nothing, to another file or in a circle.
        """
        if depth > _DEEPEST:
            raise InputError(f"{self.path}: key {key!r} refers to itself")
        if isinstance(value, str):
            if value.startswith("$"):
                raise InputError(
                    f"{self.path}: key {key!r} is the expression {value!r}, and expressions of bundles are not run; "
                    "write its value there, or a card with the sections network, inference and intensity "
                    "(docs/models.md)"
                )
            if value.startswith(("@", "%")):
                target = value[1:]
                return self.resolved(self._at(target), target, deep=deep, depth=depth + 1)
        if deep and isinstance(value, dict):
            return {one: self.resolved(inner, f"{key}::{one}", depth=depth + 1) for one, inner in value.items()}
        if deep and isinstance(value, list):
            return [self.resolved(inner, f"{key}::{n}", depth=depth + 1) for n, inner in enumerate(value)]
        return value

    def component(self, value: Any, key: str) -> tuple[str, dict[str, Any]]:
        """Return class and raw arguments of ``{"_target_": ...}``; references in arguments are not yet followed."""
        found = self.resolved(value, key, deep=False)
        target = self.resolved(found.get("_target_"), f"{key}::_target_") if isinstance(found, Mapping) else None
        if not isinstance(target, str):
            raise InputError(f"{self.path}: key {key!r} has no _target_, the class that it describes")
        return target, {one: inner for one, inner in found.items() if one not in _META}

    def _at(self, key: str) -> Any:
        value: Any = self._content
        for part in re.split(r"::|#", key):
            if isinstance(value, str) and value.startswith(("@", "%")):
                value = self.resolved(value, key, deep=False, depth=1)
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                raise InputError(f"{self.path}: key {key!r} is missing")
        return value
