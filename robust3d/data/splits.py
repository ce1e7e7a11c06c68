# SPDX-License-Identifier: Apache-2.0
"""Splits: which cases train, validate and test, written down by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from robust3d.data.layouts.documents import read_object
from robust3d.foundation.cards import Card, check_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.digest import digest_json
from robust3d.foundation.errors import InputError, nearest
from robust3d.foundation.files import write_text

FILE = "split.json"
"""Name of the split beside the card of a model."""


class Split(Card):
    """Names of the cases that train, validate and test; none is in two of them, and ``test`` may be empty."""

    name: str
    notes: str = ""
    train: tuple[str, ...] = Field(min_length=1)
    validation: tuple[str, ...] = ()
    test: tuple[str, ...]

    @model_validator(mode="after")
    def _each_case_once(self) -> Self:
        names = [*self.train, *self.validation, *self.test]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"case {twice[0]!r} is in the split twice; a case trains, validates or tests")
        return self

    @property
    def sha256(self) -> str:
        """Identity of the three lists, whatever their order."""
        return digest_json([sorted(self.train), sorted(self.validation), sorted(self.test)])


def read_split(path: Path) -> Split:
    """Read and check a split.

    Raises
    ------
    InputError
        If the file cannot be read, is not JSON, or is no split.
    """
    return check_card(read_object(path), Split, where=f"split {path}")


def write_split(split: Split, path: Path) -> None:
    """Write a split atomically."""
    write_text(path, json.dumps(split.model_dump(mode="json"), indent=1) + "\n")


def find_split(name: str, collections: Collections) -> Split:
    """Return a split that cards name: ``benchmarks/splits/NAME.json`` of the first collection that has it.

    Raises
    ------
    InputError
        If there is none, or it is wrong or tests no case.
    """
    known: dict[str, Path] = {}
    for root in collections.roots:
        for path in sorted((root / "benchmarks" / "splits").glob("*.json")):
            known.setdefault(path.stem, path)
    if name not in known:
        raise InputError(f"unknown split {name!r}; {nearest(name, known)}")
    split = read_split(known[name])
    if not split.test:
        raise InputError(f"split {known[name]} names no case under test; a benchmark needs one")
    return split


def fold_sizes(cases: int, folds: int) -> tuple[int, ...]:
    """Return the sizes of folds that differ by one at most, the larger ones first (82 in 4: 21, 21, 20, 20).

    Raises
    ------
    InputError
        If there are fewer than two folds, or fewer cases than folds.
    """
    if folds < 2:
        raise InputError(f"cross-validation needs at least 2 folds, not {folds}")
    if cases < folds:
        raise InputError(f"{cases} cases cannot make {folds} folds; give fewer folds or more cases")
    return tuple(cases // folds + (index < cases % folds) for index in range(folds))


def split_by_fold(
    names: Sequence[str], fold: int, sizes: Sequence[int], *, seed: int, validation: int, name: str = ""
) -> Split:
    """Return the split of one fold: it tests, ``validation`` of the other cases validate, and the rest trains.

    The names are sorted, shuffled by ``seed`` alone (PCG64, the same on any machine) and cut at the sizes, so that
    folds of equal seed and sizes share no case and hold every one.

    Parameters
    ----------
    names : sequence of str
        All cases.
    fold : int
        Which one tests, from 1.
    sizes : sequence of int
        Cases of each fold.
    seed : int
        Of the shuffle.
    validation : int
        Number of cases that validate.
    name : str
        Name of the split.

    Raises
    ------
    InputError
        If the fold is out of range, the sizes do not add up to the cases, or none is left to train.
    """
    if not 1 <= fold <= len(sizes):
        raise InputError(f"fold {fold} is out of range; there are folds 1 to {len(sizes)}")
    if sum(sizes) != len(names):
        raise InputError(
            f"folds of {', '.join(map(str, sizes))} cases need {sum(sizes)} and there are {len(names)}; "
            "change fold_sizes of the card, or leave it out for equal folds"
        )
    ordered = sorted(names)
    shuffled = [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]
    first = sum(sizes[: fold - 1])
    test = shuffled[first : first + sizes[fold - 1]]
    # From the end of the fold on, so that the validation cases of different folds differ too.
    others = shuffled[first + len(test) :] + shuffled[:first]
    if len(others) <= validation:
        raise InputError(
            f"fold {fold} of {len(names)} cases leaves {len(others)}; {validation} to validate and at least one to "
            "train are asked for"
        )
    return Split(
        name=name,
        train=tuple(sorted(others[validation:])),
        validation=tuple(sorted(others[:validation])),
        test=tuple(sorted(test)),
    )
