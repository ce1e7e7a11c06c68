# SPDX-License-Identifier: Apache-2.0
"""The files of a run, read to find everything that is wrong with them; a damaged one hides no other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robust3d.benchmarks.cell import cell_key
from robust3d.benchmarks.gate.comparability import leaves_of
from robust3d.benchmarks.results import ResultCell, figure_problems, key_problems, parse_cell, parse_json
from robust3d.foundation.digest import digest_json
from robust3d.foundation.errors import InputError

_TOLD = {"benchmark", "threat", "seed", "member", "split_sha256"}
"""What a line tells of its run; a clean cell serves runs of other threat models and seeds."""

_SHOWN = 60
"""Characters of a value in a clause."""


@dataclass(frozen=True)
class Record:
    """A cell and where it stands.

    Parameters
    ----------
    where : str
        Line or file.
    cell : ResultCell
        What is read of it.
    content : dict
        All of it.
    """

    where: str
    cell: ResultCell
    content: dict[str, Any]


def read_lines(file: Path) -> tuple[list[Record], list[str]]:
    """Return the cells of a ``results.jsonl`` that agree with themselves, and what is wrong with the file."""
    try:
        # Not splitlines, which would also break at the separators that JSON strings may hold.
        lines = file.read_bytes().decode("utf-8", errors="backslashreplace").split("\n")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    texts = {f"line {number} of {file}": text for number, text in enumerate(lines, start=1) if text.strip()}
    records, problems = _read(texts)
    for key, times in Counter(one.cell.key for one in records).items():
        if times > 1:
            problems.append(f"{file} has the cell {', '.join(key)} {times} times; it may have it once")
    sound = list({one.cell.key: one for one in records}.values())
    return sound, [*problems, *_strangers(sound)]


def read_files(folder: Path) -> tuple[dict[str, Record], list[str]]:
    """Return the cells of a folder ``cells`` that agree with themselves by key, and what is wrong with the others."""
    texts, problems = {}, []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            texts[str(path)] = path.read_bytes().decode("utf-8", errors="backslashreplace")
        except OSError as error:
            problems.append(f"cannot read {path}: {error.strerror}")
    records, wrong = _read(texts)
    for one in records:
        named = Path(one.where).stem
        if one.cell.cell != named:
            wrong.append(f"{one.where} holds the cell {one.cell.cell} and not {named}")
    return {Path(one.where).stem: one for one in records}, [*problems, *wrong]


def differing(line: Record, stored: Record) -> Iterator[str]:
    """Yield each key in which a line differs from the file of its cell."""
    one, other = (leaves_of({key: own[key] for key in own.keys() - _TOLD}) for own in (line.content, stored.content))
    for key in sorted(one.keys() | other.keys()):
        here, there = (json.dumps(each[key]) if key in each else "absent" for each in (one, other))
        if here != there:
            here, there = _excerpts(here, there)
            yield f"{key} is {here} in {line.where} and {there} in {stored.where}"


def _read(texts: dict[str, str]) -> tuple[list[Record], list[str]]:
    records, problems = [], []
    for where, text in texts.items():
        try:
            content = parse_json(text, where)
            cell = parse_cell(content, where)
        except InputError as error:
            problems.append(str(error))
            continue
        wrong = [*figure_problems(cell.dsc, cell.classes, where), *_sums(cell, content, where), *_key(cell, where)]
        problems += wrong
        if not wrong:
            records.append(Record(where, cell, content))
    return records, problems


def _sums(cell: ResultCell, content: dict[str, Any], where: str) -> Iterator[str]:
    for name in ("tp", "fp", "fn", "tn"):
        total = sum(getattr(one, name) for one in cell.classes.values())
        if content.get(name, total) != total:
            yield f"{where} has {name} = {content[name]!r} and its classes make {total}"


def _key(cell: ResultCell, where: str) -> Iterator[str]:
    settings = cell.settings
    try:
        key = cell_key(
            cell.model_sha256, settings.pipeline, cell.volume_sha256, settings.attack, cell.threat, cell.seed
        )
    except ValueError as error:
        yield f"{where} has settings without a key: {error}"
        return
    yield from key_problems(cell.cell, key, where)


def _strangers(records: Sequence[Record]) -> Iterator[str]:
    """Yield each line of another benchmark, threat model or seed than most."""
    for name in ("benchmark", "threat", "seed"):
        values = {one.where: getattr(one.cell, name) for one in records}
        digests = {where: digest_json([value]) for where, value in values.items()}
        counted = Counter(digests.values()).most_common(1)
        usual = next((values[where] for where, one in digests.items() if one == counted[0][0]), None)
        for where, value in values.items():
            if value != usual:
                yield f"{where} has {name} {json.dumps(value)} and most lines have {json.dumps(usual)}"


def _excerpts(one: str, other: str) -> tuple[str, str]:
    """Return two texts, cut to where they begin to differ."""
    same = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
    first = max(0, same - _SHOWN // 2)
    return one[first : first + _SHOWN], other[first : first + _SHOWN]
