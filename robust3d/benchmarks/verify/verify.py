# SPDX-License-Identifier: Apache-2.0
"""Verify a finished run: every figure from its counts, every hash anew, and a sample of cells computed again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robust3d.benchmarks.replay import Replay, Replayed
from robust3d.benchmarks.results import CellKey, ResultCell, Results, find_results
from robust3d.benchmarks.verify.records import Record, differing, read_files, read_lines
from robust3d.benchmarks.verify.weights import models_of, weight_hashes, weight_problems
from robust3d.foundation.collections import Collections
from robust3d.foundation.digest import canonical_json
from robust3d.foundation.errors import InputError
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.precision import Precision

_Load = Callable[[str, Precision], Pipeline]


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what was found.

    Parameters
    ----------
    lines, files : int
        Cells of ``results.jsonl``, and in the folder ``cells``, that agree with themselves.
    models, volumes : int
        Models and cases whose files were hashed.
    replayed : tuple of CellKey
        Cells that were computed anew.
    problems : tuple of str
        Everything that does not agree, a clause each, with the file and both values.
    """

    lines: int
    files: int
    models: int
    volumes: int
    replayed: tuple[CellKey, ...]
    problems: tuple[str, ...]


def verify(
    run: Path,
    collections: Collections,
    load: _Load,
    *,
    data: str | None,
    cells: int,
    seed: int,
    report: Callable[[CellKey], None],
) -> Verification:
    """Verify the folder of a run, or its ``results.jsonl``.

    Parameters
    ----------
    run : Path
        Folder or file.
    collections : Collections
        Where models, attacks and the benchmark's card lie.
    load : callable
        Gives a pipeline from its name and precision.
    data : str or None
        Folder of the cases, for benchmarks that do not generate them.
    cells : int
        How many to compute anew, drawn from those whose inputs are the same here.
    seed : int
        Of the draw.
    report : callable
        Called after each of these.

    Raises
    ------
    InputError
        If there are no results, or the benchmark's card or data are not there.
    """
    file = find_results(run)
    lines, problems = read_lines(file)
    files, wrong = read_files(file.parent / "cells")
    problems += wrong
    if (file.parent / "cells").is_dir():
        problems += _against_files(lines, files, file.parent / "cells", wrong)
    if not lines:
        problems.append(f"{file} holds no sound cell")
        return Verification(0, len(files), 0, 0, (), tuple(problems))
    results = Results(file, {one.cell.key: one.cell for one in _usual_first(lines)})
    weights = weight_problems(weight_hashes(one.cell for one in lines), collections, load)
    problems += [problem for found in weights.values() for problem in found]
    try:
        replay = Replay(results, collections, load, data)
    except InputError as error:
        if data is None:
            raise
        # Cases whose headers are damaged are a finding, beside the others.
        problems.append(str(error))
        return Verification(len(lines), len(files), len(weights), 0, (), tuple(dict.fromkeys(problems)))
    able = [cell for cell in results.cells.values() if not any(weights[name] for name in models_of(cell))]
    same, other, volumes = _same_inputs(replay, able)
    problems += other
    drawn = _draw(same, cells, seed)
    for cell in drawn:
        problems += _differences(cell, replay.cell(cell, replay.volume(cell.case)))
        report(cell.key)
    sizes = len(lines), len(files), len(weights), volumes
    return Verification(*sizes, tuple(one.key for one in drawn), tuple(dict.fromkeys(problems)))


def _against_files(
    lines: Sequence[Record], files: dict[str, Record], folder: Path, told: Sequence[str]
) -> Iterator[str]:
    for line in lines:
        path = folder / f"{line.cell.cell}.json"
        if path.stem in files:
            yield from differing(line, files[path.stem])
        elif not any(str(path) in problem for problem in told):
            yield f"{line.where} has no file {path}"


def _usual_first(lines: Sequence[Record]) -> list[Record]:
    """Return the lines with those of the most common benchmark and threat model first, which the results go by."""
    kinds = [canonical_json([one.cell.benchmark, one.cell.threat]) for one in lines]
    usual = Counter(kinds).most_common(1)[0][0]
    ranked = sorted(zip(kinds, lines, strict=True), key=lambda pair: pair[0] != usual)
    return [line for _, line in ranked]


def _same_inputs(replay: Replay, cells: Sequence[ResultCell]) -> tuple[list[ResultCell], list[str], int]:
    """Return the cells whose inputs are those of here, the differences of the others, and the volumes read."""
    same, problems = [], []
    volumes = 0
    for case in dict.fromkeys(cell.case for cell in cells):
        try:
            volume = replay.volume(case)
        except InputError as error:
            problems.append(str(error))
            continue
        volumes += 1
        for cell in cells:
            if cell.case != case:
                continue
            try:
                found = list(replay.differences(cell, volume))
            except InputError as error:
                found = [f"{', '.join(cell.key)}: {error}"]
            # Whatever differs makes another identity, which need not be told twice.
            problems += found[:-1] or found
            if not found:
                same.append(cell)
    return same, problems, volumes


def _draw(cells: Sequence[ResultCell], count: int, seed: int) -> list[ResultCell]:
    drawn = np.random.default_rng(seed).permutation(len(cells))[:count]
    return [cells[place] for place in sorted(drawn)]


def _differences(cell: ResultCell, made: Replayed) -> Iterator[str]:
    name = ", ".join(cell.key)
    measured = ", ".join(f"{key} {value}" for key, value in sorted(cell.environment.items()))
    if not made.agrees:
        yield f"{name}: DSC {made.stored:.6f} % in the results ({measured}) and {made.dsc:.6f} % computed here"
    if made.counts != cell.classes:
        for label in sorted(made.counts.keys() | cell.classes.keys()):
            one, other = cell.classes.get(label), made.counts.get(label)
            if one != other:
                yield f"{name}: class {label} has {one} in the results ({measured}) and {other} computed here"
