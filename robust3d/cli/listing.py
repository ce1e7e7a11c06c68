# SPDX-License-Identifier: Apache-2.0
"""``robust3d models``, ``attacks``, ``defenses`` and ``benchmarks``: what the collections hold."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

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
            about = read_card(entries[name], ForeignCard).model
            return name, about.format, about.defense, "not run", f"{about.data}; {about.licence}"
        card = read_card(entries[name], ModelCard)
        megabytes = stored_bytes(card, entries[name].parent) / 1e6
        parameters = f"{count_parameters(card):,} parameters"
        stages = f"{parameters} each in {' and '.join(card.stages)}" if card.fine else parameters
        network = f"{card.network.title}; {stages}; {megabytes:.1f} MB"
        results = card.results
        reached = f"{results.clean_dsc:.1f} / {results.worst_dsc:.1f} on {results.benchmark}" if results else "not run"
        return name, network, card.model.defense, reached, f"{card.model.data}; {card.model.licence}"

    headings = ("name", "network", "defense", "DSC % clean / worst", "data; licence")
    _show("models", headings, chosen, row)


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
        return name, attack.title, norm, attack.objective, attack.cost, source

    _show(
        "attacks", ("name", "what it is", "norm", "loss", "cost a case", "source"), collections.entries("attacks"), row
    )


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
        return name, card.recipe.description, scale, passes, card.reference.paper

    headings = ("name", "what it is", "coarse stage", "passes an update", "paper")
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
            ", ".join(about.models) or "yours",
            ", ".join(about.attacks),
            _cases(card.data),
            str(card.threat.build()),
        )

    headings = ("name", "models", "attacks", "cases", "threat model")
    _show("benchmarks", headings, collections.entries("benchmarks"), row)


def _cases(data: BenchmarkData) -> str:
    counted = str(data.cases) if data.cases else "all"
    return counted if data.split is None else f"{counted} of split {data.split}"


def _show(title: str, headings: Row, names: Iterable[str], row: Callable[[str], Row]) -> None:
    """Print a table of the entries whose card is right, then raise one error that tells of all others."""
    table = Table(title=title)
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=number == 0)
    broken: list[str] = []
    for name in names:
        try:
            table.add_row(*map(Text, row(name)))
        except InputError as error:
            broken.append(str(error))
    Console().print(table)
    if broken:
        raise InputError("; ".join(broken))
