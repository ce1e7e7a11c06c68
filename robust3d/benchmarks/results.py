# SPDX-License-Identifier: Apache-2.0
"""Results of a run, read back: checked cells of one benchmark, threat model and seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from robust3d.benchmarks.card import ThreatCard
from robust3d.benchmarks.cell import SCHEMA
from robust3d.foundation.cards import check_card
from robust3d.foundation.errors import InputError
from robust3d.foundation.text import refuse_control
from robust3d.metrics.counts import Counts
from robust3d.threat.model import ThreatModel

NAME = "results.jsonl"
"""File of a run folder that holds its cells, one a line."""

# Names are printed, and a file may come from anywhere.
_Name = Annotated[str, AfterValidator(refuse_control)]


def _refuse_path(name: str) -> str:
    # Users may name a card by its path; what results name is looked for in collections alone.
    if any(part.endswith(".toml") for part in name.split("@")):
        raise ValueError(f"{name!r} is a path to a card, and results hold names")
    return name


_Entry = Annotated[_Name, AfterValidator(_refuse_path)]

CellKey = tuple[str, str, str]
"""Model, attack and case."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class ClassCounts(_Section):
    """Counts of one class, in voxels."""

    tp: NonNegativeInt
    fp: NonNegativeInt
    fn: NonNegativeInt
    tn: NonNegativeInt

    @property
    def dsc(self) -> float:
        """DSC, percent."""
        return 100 * Counts(self.tp, self.fp, self.fn, self.tn).dsc


def counted_dsc(classes: Mapping[str, ClassCounts]) -> float:
    """Return the mean DSC of the classes from their counts, from 0 to 1."""
    return sum(one.dsc for one in classes.values()) / len(classes) / 100


def figure_problems(dsc: float, classes: Mapping[str, ClassCounts], where: str) -> Iterator[str]:
    """Yield a clause if a DSC, from 0 to 1, is not that of its counts."""
    counted = counted_dsc(classes)
    if abs(dsc - counted) > 1e-6:
        yield f"{where} has a DSC of {dsc:.6f} and counts that make {counted:.6f}"


def key_problems(stated: str | None, key: str, where: str) -> Iterator[str]:
    """Yield a clause if the key of a cell is not that of its content."""
    if stated != key:
        yield f"{where} has key {str(stated)[:12]} and its settings make {key[:12]}"


class CellSettings(_Section):
    """What a cell was measured with."""

    pipeline: dict[str, Any]
    attack: dict[str, Any] | None


class ResultCell(_Section):
    """What is read of one line of ``results.jsonl``; other keys are kept out."""

    benchmark: _Entry
    model: _Name
    attack: _Entry
    case: _Name
    seed: int
    bounded: bool
    threat: dict[str, Any]
    dsc: float = Field(ge=0, le=1)
    classes: dict[str, ClassCounts] = Field(min_length=1)
    model_sha256: str
    volume_sha256: str
    settings: CellSettings
    environment: dict[str, Any]
    cell: _Name | None = None
    """SHA-256 of everything that decides the result, and the name of its file."""
    member: _Name | None = None
    """Which fold of a cross-validated model measured it."""

    @property
    def key(self) -> CellKey:
        """Model, attack and case."""
        return self.model, self.attack, self.case


@dataclass(frozen=True)
class Results:
    """All cells of one file, in its order; every cell occurs once, threat model and seed are the same in all.

    Parameters
    ----------
    path : Path
        The file.
    cells : dict
        By model, attack and case.
    """

    path: Path
    cells: dict[CellKey, ResultCell]

    @property
    def first(self) -> ResultCell:
        """A cell to read from what is the same in all."""
        return next(iter(self.cells.values()))

    @cached_property
    def rows(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Cases by model and attack, in the file's order."""
        rows: dict[tuple[str, str], list[str]] = {}
        for model, attack, case in self.cells:
            rows.setdefault((model, attack), []).append(case)
        return {key: tuple(cases) for key, cases in rows.items()}

    @property
    def models(self) -> tuple[str, ...]:
        """Models in the file's order."""
        return tuple(dict.fromkeys(model for model, _ in self.rows))

    def attacks(self, model: str) -> tuple[str, ...]:
        """Attacks of a model in the file's order, the clean prediction among them."""
        return tuple(attack for own, attack in self.rows if own == model)

    def cells_of(self, model: str) -> list[ResultCell]:
        """Cells of a model in the file's order."""
        return [cell for cell in self.cells.values() if cell.model == model]

    @cached_property
    def threat(self) -> ThreatModel:
        """The threat model of all cells.

        Raises
        ------
        InputError
            If the file does not hold one.
        """
        return check_card(self.first.threat, ThreatCard, where=f"threat model of {self.path}").build()

    @cached_property
    def weights(self) -> dict[str, tuple[str, ...]]:
        """SHA-256 of the weights by model; several where it is cross-validated."""
        found: dict[str, dict[str, None]] = {}
        for cell in self.cells.values():
            found.setdefault(cell.model, {})[cell.model_sha256] = None
        return {model: tuple(hashes) for model, hashes in found.items()}

    def records(self) -> dict[CellKey, dict[str, Any]]:
        """Whole lines of the file, with the costs and details that no comparison needs, in its order."""
        lines = self.path.read_text(encoding="utf-8").split("\n")
        contents = [json.loads(line) for line in lines if line.strip()]
        return {(one["model"], one["attack"], one["case"]): one for one in contents}


def find_results(path: Path) -> Path:
    """Return the ``results.jsonl`` that is meant by a file or its folder.

    Raises
    ------
    InputError
        If there is none.
    """
    file = path / NAME if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{file} does not exist; give a {NAME} that robust3d run wrote, or its folder")
    return file


def read_results(path: Path) -> Results:
    """Read and check the results of a run, given as ``results.jsonl`` or its folder.

    Raises
    ------
    InputError
        If the file is absent, empty or broken (names the line), is no file of results, has another schema, holds a cell
        twice, or mixes threat models or seeds.
    """
    file = find_results(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {error}") from error
    cells: dict[CellKey, ResultCell] = {}
    lines: dict[CellKey, int] = {}
    # Not splitlines, which would also break at the separators that JSON strings may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        cell = _read_cell(line, f"line {number} of {file}")
        if cell.key in cells:
            names = ", ".join(cell.key)
            raise InputError(f"line {number} of {file} repeats the cell of line {lines[cell.key]} ({names})")
        cells[cell.key], lines[cell.key] = cell, number
    if not cells:
        raise InputError(f"{file} holds no cell; run the benchmark first")
    _refuse_mixtures(list(cells.values()), list(lines.values()), file)
    return Results(file, cells)


def parse_json(text: str, where: str) -> Any:
    """Return the content of a line or a file.

    Raises
    ------
    InputError
        If it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error}); give a whole {NAME} that robust3d run wrote") from error


def parse_cell(content: Any, where: str) -> ResultCell:
    """Return the cell of parsed JSON; whether its figures agree with each other is not looked at.

    Raises
    ------
    InputError
        If it is no cell or of another schema.
    """
    if not isinstance(content, dict) or "schema" not in content:
        raise InputError(f"{where} is not a cell: it has no schema; give a {NAME} that robust3d run wrote")
    if content["schema"] != SCHEMA:
        raise InputError(
            f"{where} has schema {content['schema']!r} and this robust3d compares schema {SCHEMA}; "
            "run the benchmark anew with it"
        )
    try:
        return ResultCell.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"{where} is not a cell: {key}: {first['msg']}") from error


def _read_cell(line: str, where: str) -> ResultCell:
    cell = parse_cell(parse_json(line, where), where)
    for problem in figure_problems(cell.dsc, cell.classes, where):
        raise InputError(f"{problem}; it was changed")
    return cell


def _refuse_mixtures(cells: Sequence[ResultCell], lines: Sequence[int], file: Path) -> None:
    first = cells[0]
    volumes: dict[str, tuple[str, int]] = {}
    classes: dict[str, tuple[set[str], int]] = {}
    for cell, line in zip(cells, lines, strict=True):
        for name, here, there in (
            ("threat model", cell.threat, first.threat),
            ("seed", cell.seed, first.seed),
            ("benchmark", cell.benchmark, first.benchmark),
        ):
            if here != there:
                raise InputError(f"{file} mixes results: line {line} has another {name} than line {lines[0]}")
        volume, earlier = volumes.setdefault(cell.case, (cell.volume_sha256, line))
        if volume != cell.volume_sha256:
            raise InputError(
                f"{file} mixes results: case {cell.case} is another volume in line {line} than in line {earlier}"
            )
        own, earlier = classes.setdefault(cell.model, (set(cell.classes), line))
        if own != set(cell.classes):
            raise InputError(f"{file} mixes results: {cell.model} in line {line} has other classes than line {earlier}")
