# SPDX-License-Identifier: Apache-2.0
"""Which model evaluates a case: never one that was trained or chosen with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robust3d.data.splits import Split, read_split
from robust3d.defenses.recipe import Recipe
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.foundation.paths import inside
from robust3d.zoo.card import ModelCard
from robust3d.zoo.formats.locate import is_foreign, model_path
from robust3d.zoo.load import FOLD, split_name


@dataclass(frozen=True)
class Member:
    """A model of the zoo that evaluates a case, and the cases that it was made with.

    Parameters
    ----------
    name : str
        Name to load it by.
    split : Split or None
        Where its card has one.
    """

    name: str
    split: Split | None = None

    def record(self) -> dict[str, str]:
        """Return what results tell of it: nothing for a model without a split."""
        return {} if self.split is None else {"member": self.name, "split_sha256": self.split.sha256}


class Members:
    """Finds the member that evaluates a case; reads each split once.

    Parameters
    ----------
    collections : Collections
        Where models are found.
    """

    def __init__(self, collections: Collections) -> None:
        self.collections = collections
        self._members: dict[str, tuple[Member, ...]] = {}

    def __call__(self, model: str, case: str) -> Member:
        """Return the model itself, or the fold of a cross-validated model that tests the case.

        Raises
        ------
        InputError
            If the model was trained or validated on the case, no fold tests it, two do, or a split is not that of the
            card.
        """
        if model not in self._members:
            self._members[model] = tuple(self._find(model))
        members = self._members[model]
        if len(members) == 1 and members[0].name == model:
            split = members[0].split
            if split is not None and case in (*split.train, *split.validation):
                part = "trained" if case in split.train else "validated"
                raise InputError(
                    f"case {case} {part} model {model} (its split.json says so), so it cannot test it; choose test "
                    f"cases, or rename the case if it is another one"
                )
            return members[0]
        testing = [one for one in members if one.split is not None and case in one.split.test]
        if len(testing) != 1:
            names = ", ".join(one.name for one in members)
            found = "none" if not testing else f"{len(testing)}"
            raise InputError(
                f"{found} of the folds {names} tests case {case}; a case needs exactly one, so train the "
                "missing folds on the same cases with the same card"
            )
        return testing[0]

    def _find(self, model: str) -> list[Member]:
        given = model_path(model, self.collections)
        if given is not None:
            return [Member(model, _read(given))]
        entry, stage = split_name(model)
        entries = self.collections.entries("zoo")
        folds = sorted(name for name in entries if name.startswith(f"{entry}/{FOLD}"))
        if entry in entries or not folds:
            return [Member(model, _read(self.collections.find("zoo", entry)))]
        suffix = f"/{stage}" if stage else ""
        return [Member(f"{name}{suffix}", _read(entries[name])) for name in folds]


def check_starts(recipe: Recipe, split: Split | None, collections: Collections) -> None:
    """Refuse to train from a model of the zoo with another network, or that saw a case which the run leaves out.

    Weights of networks that differ in their connections alone fit each other, so shapes do not tell.

    Raises
    ------
    InputError
        If a stage starts from such a model, or the split of that model is not that of its card.
    """
    for name, stage in recipe.stages.items():
        source, _, _ = stage.start.rpartition("/")
        if not source:
            continue
        path = collections.find("zoo", source)
        if stage.start_layers is None:
            _check_network(recipe, name, path)
        if split is None:
            continue
        before = _read(path)
        seen = set() if before is None else {*before.train, *before.validation}
        common = [case for case in split.test if case in seen]
        if common:
            raise InputError(
                f"stage {name} starts from {stage.start}, and {len(common)} of the {len(split.test)} cases left out for"
                f" testing, {common[0]} the first, trained or validated model {source} (its split.json says so); start "
                "from a model that did not see them"
            )


def _check_network(recipe: Recipe, name: str, path: Path) -> None:
    """Compare what shapes do not tell: the names of the networks and the flags that both have."""
    wanted, found = recipe.network.settings(), read_card(path, ModelCard).network.settings()
    for key, value in wanted.items():
        if key not in ("width", "classes") and found.get(key, value) != value:
            raise InputError(
                f"stage {name} starts from {recipe.stages[name].start}, whose card says {key} = {found[key]!r} in its "
                f"section network, and the recipe {value!r}; start from a model of the same network, or take "
                "single layers of it by start_layers"
            )


def _read(path: Path) -> Split | None:
    if is_foreign(path):
        return None
    card = read_card(path, ModelCard)
    if card.split is None:
        return None
    split = read_split(inside(path.parent, card.split.file))
    if split.sha256 != card.split.sha256:
        raise InputError(
            f"split {path.parent / card.split.file} has SHA-256 {split.sha256} and card {path} says "
            f"{card.split.sha256}; restore the file"
        )
    return split
