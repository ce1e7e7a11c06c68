# SPDX-License-Identifier: Apache-2.0
"""``robust3d models``, ``attacks``, ``defenses`` and ``benchmarks``: what the collections hold."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.syntax import Syntax

from robust3d.cli.fitted import print_fitted
from robust3d.cli.options import Collection
from robust3d.foundation.errors import InputError

if TYPE_CHECKING:
    from robust3d.benchmarks.card import BenchmarkData

Row = Sequence[str]


def models(name: str = "*", /, *, collection: Collection = ()) -> None:
    """List the models of the zoo, or show the card of one.

    Parameters
    ----------
    name
        Name of a model to show its card, or a pattern such as "resdsn*" to list those that match.
    """
    from robust3d.foundation.cards import read_card
    from robust3d.foundation.collections import Collections
    from robust3d.zoo.card import ModelCard
    from robust3d.zoo.formats.card import ForeignCard
    from robust3d.zoo.formats.locate import is_foreign
    from robust3d.zoo.size import count_parameters, stored_bytes

    collections = Collections.open(collection)
    if not any(sign in name for sign in "*?["):
        path = collections.find("zoo", name)
        read_card(path, ForeignCard if is_foreign(path) else ModelCard)
        Console().print(Syntax(path.read_text(encoding="utf-8"), "toml", background_color="default", word_wrap=True))
        return
    entries = collections.entries("zoo")
    chosen = fnmatch.filter(entries, name)
    if entries and not chosen:
        raise InputError(f"no model matches {name!r}; there are {', '.join(entries)}")

    def row(name: str) -> Row:
        if is_foreign(entries[name]):
            other = read_card(entries[name], ForeignCard).model
            return name, "not run", "", other.defense, "", "", other.format, "", other.licence, other.data
        card = read_card(entries[name], ModelCard)
        megabytes = f"{stored_bytes(card, entries[name].parent) / 1e6:.1f}"
        parameters = f"{'2 x ' if card.fine else ''}{count_parameters(card):,}"
        results = card.results
        reached = (f"{results.clean_dsc:.1f}", f"{results.worst_dsc:.1f}") if results else ("not run", "")
        measured = results.benchmark if results else ""
        about = card.model
        size = (megabytes, parameters)
        return name, *reached, about.defense, *size, card.network.title, measured, about.licence, about.data

    headings = ("name", "clean", "worst", "defense", "MB", "params", "network", "benchmark", "licence", "data")
    _show("models, DSC in percent", headings, chosen, row)


def attacks(*, collection: Collection = ()) -> None:
    """List the attacks."""
    from robust3d.attacks.cards import read_attack_card
    from robust3d.foundation.collections import Collections

    collections = Collections.open(collection)

    def row(name: str) -> Row:
        card = read_attack_card(name, collections)
        attack = card.attack
        norm = ", ".join(attack.norms) if attack.bounded else "unbounded"
        source = f"{card.reference.paper}, {card.reference.equation}".removesuffix(", ")
        return name, attack.title, norm, attack.cost, attack.objective, source

    headings = ("name", "what it is", "norm", "cost a case", "loss", "source")
    _show("attacks", headings, collections.entries("attacks"), row)


def defenses(*, collection: Collection = ()) -> None:
    """List the training recipes."""
    from robust3d.defenses.recipe import Recipe
    from robust3d.foundation.cards import read_card
    from robust3d.foundation.collections import Collections

    entries = Collections.open(collection).entries("defenses")

    def row(name: str) -> Row:
        card = read_card(entries[name], Recipe)
        stage = card.coarse
        scale = f"{stage.iterations:,} x {stage.batch} windows of {stage.window} voxels, {card.network.title}"
        passes = f"{card.adversary.passes:g}" if card.adversary else "1"
        return name, card.recipe.description, passes, scale, card.reference.paper

    headings = ("name", "what it is", "passes", "coarse stage", "paper")
    _show("training recipes", headings, entries, row)


def benchmarks(*, collection: Collection = ()) -> None:
    """List the benchmarks."""
    from robust3d.benchmarks.card import read_benchmark_card
    from robust3d.foundation.collections import Collections

    collections = Collections.open(collection)

    def row(name: str) -> Row:
        card = read_benchmark_card(name, collections)
        about = card.benchmark
        return (
            name,
            ", ".join(about.attacks),
            str(card.threat.build()),
            _cases(card.data),
            ", ".join(about.models) or "yours",
        )

    headings = ("name", "attacks", "threat model", "cases", "models")
    _show("benchmarks", headings, collections.entries("benchmarks"), row)


def _cases(data: BenchmarkData) -> str:
    counted = str(data.cases) if data.cases else "all"
    return counted if data.split is None else f"{counted} of split {data.split}"


def _show(title: str, headings: Row, names: Iterable[str], row: Callable[[str], Row]) -> None:
    """Print a table of the entries whose card is right, then raise one error that tells of all others."""
    rows: list[Row] = []
    broken: list[str] = []
    for name in names:
        try:
            rows.append(row(name))
        except InputError as error:
            broken.append(str(error))
    print_fitted(title, headings, rows)
    if broken:
        raise InputError("; ".join(broken))
