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


def named_channels(channels: object, where: str) -> tuple[int | None, list[str]]:
    """Return how many channels a description names, and what is wrong with it: several are numbered from 0 on."""
    numbers = {*channels} if isinstance(channels, dict) else set()
    if len(numbers) != 1 and (not numbers or numbers != {str(number) for number in range(len(numbers))}):
        return None, [f"{where} needs channels as number: name, numbered from 0 on without gaps"]
    return len(numbers), []


def pair_list(pairs: object, root: Path, where: str, *, channels: int | None = None) -> tuple[list[Entry], list[str]]:
    """Return the cases of a list of objects with ``image`` and ``label``, and what is wrong with it.

    A case is called what its ``case`` says, else as its (first) image file without suffix. Paths are relative to
    ``root``. An image is one file, or a list with one a channel; ``channels`` is how many the folder says there are.
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
        listed = image if isinstance(image, list) else [image]
        files = [one for one in listed if isinstance(one, str) and one]
        if not files or len(files) < len(listed):
            problems.append(f"{place} has no image")
        elif not isinstance(label, str) or not label:
            problems.append(f"{place} ({files[0]}) has no label")
        else:
            name = str(pair.get("case") or case_name(Path(files[0])))
            first, *others = (root / one for one in files)
            entries.append(Entry(name, first, root / label, tuple(others), channels))
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
