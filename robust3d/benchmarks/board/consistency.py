# SPDX-License-Identifier: Apache-2.0
"""What an entry must agree with in itself: complete cases, counts, keys, bounds and summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from robust3d.benchmarks.board.entry import CellPart, Claim, Entry
from robust3d.benchmarks.board.summary import lowest_by_case, summarise_cells
from robust3d.benchmarks.cell import CLEAN, SCHEMA, cell_key
from robust3d.benchmarks.results import figure_problems, key_problems

_ROUNDING = 0.0051
"""Figures of a summary are rounded to two decimals."""

_SHOWN = 3
"""Names in a clause; the rest is counted."""


def problems(entry: Entry) -> list[str]:
    """Return everything in which an entry contradicts itself, a clause each."""
    found = [*_names(entry), *_structures(entry)]
    found += _complete(entry, entry.cells, [CLEAN, *(one.name for one in entry.attacks)], "")
    if entry.benchmark.cell_schema != SCHEMA:
        found.append(f"cells have schema {entry.benchmark.cell_schema} and this robust3d measures schema {SCHEMA}")
    known: dict[str, Any] = {one.name: one.settings for one in entry.attacks} | {CLEAN: None}
    bounded = {one.name for one in entry.attacks if one.bounded} | {CLEAN}
    for cell in entry.cells:
        where = f"{cell.attack} on {cell.case}"
        found += figure_problems(cell.dsc, cell.classes, where)
        if cell.attack in known:
            found += _key(entry, cell, known[cell.attack], where)
            found += _bounds(entry, cell, where, clean=cell.attack == CLEAN, bounded=cell.attack in bounded)
    for claim in entry.external:
        found += _claim(entry, claim)
    # Without all cells there is no row to compare with.
    return found or list(_summary(entry))


def _names(entry: Entry) -> Iterator[str]:
    for kind, names in (
        ("case", [one.case for one in entry.cases]),
        ("volume", [one.volume_sha256 for one in entry.cases]),
        ("attack", [one.name for one in entry.attacks] + [one.attack for one in entry.external]),
    ):
        for name, times in Counter(names).items():
            if times > 1:
                yield f"{kind} {name} is there {times} times"
            if kind == "attack" and name in (CLEAN, "worst"):
                yield f"an attack cannot be called {name!r}"


def _complete(entry: Entry, cells: Sequence[CellPart], attacks: Sequence[str], whose: str) -> Iterator[str]:
    wanted = [(case.case, attack) for case in entry.cases for attack in attacks]
    found = Counter((cell.case, cell.attack) for cell in cells)
    for word, keys in (
        ("lacks", [key for key in wanted if key not in found]),
        ("has unknown", [key for key in found if key not in set(wanted)]),
        ("repeats", [key for key, times in found.items() if times > 1]),
    ):
        if keys:
            names = ", ".join(f"{attack} on {case}" for case, attack in keys[:_SHOWN])
            more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
            yield f"{whose}{word} {names}{more}"


def _structures(entry: Entry) -> Iterator[str]:
    """Sizes of label and volume do not depend on the prediction: they are those of the first cell of the case."""
    sizes: dict[str, tuple[dict[str, tuple[int, int]], str]] = {}
    for cell in (*entry.cells, *(one for claim in entry.external for one in claim.cells)):
        own = {label: (one.tp + one.fn, one.tp + one.fp + one.fn + one.tn) for label, one in cell.classes.items()}
        first, attack = sizes.setdefault(cell.case, (own, cell.attack))
        if own != first:
            yield f"{cell.attack} on {cell.case} has other voxels of label and volume by class than {attack}"


def _key(entry: Entry, cell: CellPart, settings: dict[str, Any] | None, where: str) -> Iterator[str]:
    volumes = {one.case: one.volume_sha256 for one in entry.cases}
    if cell.case not in volumes:
        return
    model = entry.model
    threat = entry.threat.build().settings()
    key = cell_key(model.weights_sha256, model.pipeline, volumes[cell.case], settings, threat, entry.seed)
    yield from key_problems(cell.cell, key, where)


def _bounds(entry: Entry, cell: CellPart, where: str, *, clean: bool, bounded: bool) -> Iterator[str]:
    threat = entry.threat.build()
    epsilon, tolerance = (0.0, 0.0) if clean else (threat.epsilon, threat.distance_tolerance())
    if not bounded:
        return
    changes = {"distance": cell.distance} | ({"linf": cell.linf} if threat.norm == "linf" else {})
    for name, value in changes.items():
        if value > epsilon + tolerance:
            yield f"{where} has {name} {value:g} and may have {epsilon:g} {threat.unit}"


def _claim(entry: Entry, claim: Claim) -> Iterator[str]:
    whose = f"claim {claim.attack} of {claim.by}: "
    yield from _complete(entry, claim.cells, [claim.attack], whose)
    for cell in claim.cells:
        where = f"{whose}{cell.case}"
        yield from figure_problems(cell.dsc, cell.classes, where)
        yield from _bounds(entry, cell, where, clean=False, bounded=True)
        if claim.settings is not None:
            yield from _key(entry, cell, claim.settings, where)
    own = lowest_by_case(entry, claims=False)
    if all(cell.counted >= own.get(cell.case, 1.0) for cell in claim.cells):
        yield f"{whose}it lowers the worst case of no case"


def _summary(entry: Entry) -> Iterator[str]:
    stated, counted = (_flat(one.model_dump()) for one in (entry.summary, summarise_cells(entry.cells, entry.attacks)))
    for key in dict.fromkeys([*stated, *counted]):
        one, other = stated.get(key), counted.get(key)
        differ = one != other if one is None or other is None else abs(one - other) > _ROUNDING
        if differ:
            yield f"summary has {key} {one} and the counts make {other}"


def _flat(summary: dict[str, Any]) -> dict[str, float | None]:
    attacks = {f"attacks.{name}": value for name, value in summary.pop("attacks").items()}
    return summary | attacks
