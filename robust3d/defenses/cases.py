# SPDX-License-Identifier: Apache-2.0
"""Which cases a training run uses: a recipe's own, those of a split, or those outside a fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robust3d.data.dataset import Dataset
from robust3d.data.folder import FolderDataset
from robust3d.data.splits import Split, find_split, fold_sizes, split_by_fold
from robust3d.defenses.recipe import Recipe
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.volume.volume import Volume


@dataclass(frozen=True)
class Fold:
    """Fold ``index`` of ``count``, counted from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Fold:
        """Return the fold of a text such as ``1/4``.

        Raises
        ------
        InputError
            If it is none, or out of range.
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise InputError(f"fold {text!r} is not of the form I/K, such as 1/4")
        if not 1 <= int(index) <= int(count):
            raise InputError(f"fold {text} is out of range; there are folds 1/{count} to {count}/{count}")
        return cls(int(index), int(count))

    @classmethod
    def parse_all(cls, text: str) -> list[Fold]:
        """Return the folds of a text such as ``1/4``, or every one of ``all/4``.

        Raises
        ------
        InputError
            If it is neither, or out of range.
        """
        every, slash, count = text.partition("/")
        if every == "all" and slash and count.isdecimal() and int(count) > 0:
            return [cls(index, int(count)) for index in range(1, int(count) + 1)]
        return [cls.parse(text)]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class TrainingCases:
    """Cases of a run.

    Parameters
    ----------
    training, validation : Dataset
        Loaded one at a time.
    split : Split or None
        The names, where the cases come from a folder.
    """

    training: Dataset
    validation: Dataset
    split: Split | None = None

    def __post_init__(self) -> None:
        for part in (self.training, self.validation):
            if part.channels > 1:
                raise InputError(
                    f"training takes volumes of one channel and case {part.names[0]} has {part.channels}; models of "
                    "several are trained elsewhere and attacked here (docs/models.md)"
                )

    @property
    def size(self) -> int:
        """Number of cases of both."""
        return len(self.training.names) + len(self.validation.names)

    def load(self, report: Callable[[], None] = lambda: None) -> tuple[list[Volume], list[Volume]]:
        """Read all cases into memory; ``report`` is called after each.

        Raises
        ------
        InputError
            With every case that cannot be read.
        """
        failures: list[str] = []
        training, validation = (_load(part, failures, report) for part in (self.training, self.validation))
        if failures:
            raise InputError(f"{len(failures)} of {self.size} cases cannot be used: {'; '.join(failures)}")
        return training, validation


def training_cases(recipe: Recipe, folder: Path | None, fold: Fold | None, collections: Collections) -> TrainingCases:
    """Return the cases of a recipe.

    Parameters
    ----------
    recipe : Recipe
        The card.
    folder : Path or None
        Folder of the user's cases.
    fold : Fold or None
        Fold to leave out.
    collections : Collections
        Where splits are found.

    Raises
    ------
    InputError
        If the recipe wants a folder and none is given, or the other way round; if a fold cannot be made; if a case is
        missing, or none validates.
    """
    data, name = recipe.data, recipe.recipe.name
    if data.source == "phantom":
        if folder is not None or fold is not None:
            surplus = f"--data {folder}" if folder is not None else f"--fold {fold}"
            raise InputError(f"recipe {name} generates its cases; leave out {surplus}")
        counts = data.train_cases or 0, data.validation_cases or 0
        return TrainingCases(data.phantoms("train", counts[0]), data.phantoms("validation", counts[1]))
    if folder is None:
        raise InputError(f"recipe {name} trains on your own cases; give their folder with --data")
    dataset = data.open_folder(folder)
    if data.split is not None:
        if fold is not None:
            raise InputError(f"recipe {name} trains on the cases of split {data.split}; leave out --fold {fold}")
        return _by_name(dataset, find_split(data.split, collections))
    if fold is not None:
        return _by_name(dataset, _leave_out(recipe, dataset.names, fold))
    if data.train_cases is None:
        raise InputError(f"recipe {name} is for cross-validation; say which fold is left out, such as --fold 1/4")
    training, validation = dataset.part(0, data.train_cases), dataset.part(data.train_cases, data.validation_cases)
    seen = len(training.names) + len(validation.names)
    split = Split(
        name=name, train=tuple(training.names), validation=tuple(validation.names), test=tuple(dataset.names[seen:])
    )
    return TrainingCases(training, validation, split)


def _leave_out(recipe: Recipe, names: Sequence[str], fold: Fold) -> Split:
    data = recipe.data
    sizes = data.fold_sizes or fold_sizes(len(names), fold.count)
    if len(sizes) != fold.count:
        raise InputError(
            f"recipe {recipe.recipe.name} has {len(sizes)} fold_sizes and --fold {fold} asks for {fold.count} folds"
        )
    split = split_by_fold(
        names, fold.index, sizes, seed=data.fold_seed or 0, validation=data.validation_cases or 0, name=f"fold {fold}"
    )
    if data.train_cases is None:
        return split
    if data.train_cases > len(split.train):
        raise InputError(
            f"recipe {recipe.recipe.name} trains on {data.train_cases} cases and fold {fold} leaves "
            f"{len(split.train)}; lower train_cases or leave it out for all"
        )
    return split.model_copy(update={"train": split.train[: data.train_cases]})


def _by_name(dataset: FolderDataset, split: Split) -> TrainingCases:
    if not split.validation:
        raise InputError(f"split {split.name} names no case under validation, by which training chooses its weights")
    return TrainingCases(dataset.only(split.train), dataset.only(split.validation), split)


def _load(dataset: Dataset, failures: list[str], report: Callable[[], None]) -> list[Volume]:
    loaded = []
    for name in dataset.names:
        try:
            loaded.append(dataset.load(name))
        except InputError as error:
            failures.append(str(error))
        report()
    return loaded
