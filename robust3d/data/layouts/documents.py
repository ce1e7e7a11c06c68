# SPDX-License-Identifier: Apache-2.0
"""JSON descriptions of datasets and splits, read with care: nothing in them is trusted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robust3d.data.layouts.layout import Entry
from robust3d.foundation.errors import InputError
from robust3d.volume.nifti import case_name


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    InputError
        If it cannot be read, is not JSON, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; it must hold an object")
    return content


def channel_problems(channels: object, where: str) -> list[str]:
    """Return what is wrong with the channels of a description; volumes of one channel are supported."""
    if not isinstance(channels, dict) or len(channels) != 1:
        return [f"{where} does not name exactly one channel; one is supported"]
    return []


def pair_list(pairs: object, root: Path, where: str) -> tuple[list[Entry], list[str]]:
    """Return the cases of a list of objects with ``image`` and ``label``, and what is wrong with it.

    A case is called what its ``case`` says, else as its image file without suffix. Paths are relative to ``root``.
    """
    if not isinstance(pairs, list):
        return [], [f"{where} needs a list of objects with image and label"]
    entries, problems = [], []
    for number, pair in enumerate(pairs, start=1):
        place = f"entry {number} of {where}"
        if not isinstance(pair, dict):
            problems.append(f"{place} is a {type(pair).__name__}; it must be an object with image and label")
            continue
        image, label = pair.get("image"), pair.get("label")
        if isinstance(image, list) and len(image) == 1:
            image = image[0]
        if isinstance(image, list):
            problems.append(f"{place} has {len(image)} images; one channel is supported")
        elif not isinstance(image, str) or not image:
            problems.append(f"{place} has no image")
        elif not isinstance(label, str) or not label:
            problems.append(f"{place} ({image}) has no label")
        else:
            name = str(pair.get("case") or case_name(Path(image)))
            entries.append(Entry(name, root / image, root / label))
    return entries, problems


def unique(entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """Return the entries by name, and a problem for each name that occurs twice."""
    found: dict[str, Entry] = {}
    problems = []
    for entry in entries:
        first = found.setdefault(entry.name, entry)
        if first is not entry:
            problems.append(f"two cases are called {entry.name}: {first.image} and {entry.image}")
    return [found[name] for name in sorted(found)], problems
