# SPDX-License-Identifier: Apache-2.0
"""``robust3d models``, ``attacks``, ``defenses`` and ``benchmarks``: what the collections hold."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from robust3d.cli.options import Collection


def models(*, collection: Collection = ()) -> None:
    """List the models of the zoo."""
    from robust3d.foundation.cards import read_card
    from robust3d.foundation.collections import Collections
    from robust3d.zoo.card import ModelCard

    rows = []
    for name, path in Collections.open(collection).entries("zoo").items():
        card = read_card(path, ModelCard)
        stages = "coarse, fine" if card.fine else "coarse"
        rows.append(
            (name, f"{card.network.name}, width {card.network.width}", stages, card.model.defense, card.model.data)
        )
    _show("models", ("name", "network", "stages", "defense", "data"), rows)


def attacks(*, collection: Collection = ()) -> None:
    """List the attacks."""
    from robust3d.attacks.cards import read_attack_card
    from robust3d.foundation.collections import Collections

    collections = Collections.open(collection)
    rows = []
    for name in collections.entries("attacks"):
        card = read_attack_card(name, collections)
        rows.append((name, card.attack.title, card.reference.paper, card.reference.equation))
    _show("attacks", ("name", "what it is", "paper", "equation"), rows)


def defenses(*, collection: Collection = ()) -> None:
    """List the training recipes."""
    from robust3d.defenses.recipe import Recipe
    from robust3d.foundation.cards import read_card
    from robust3d.foundation.collections import Collections

    rows = []
    for name, path in Collections.open(collection).entries("defenses").items():
        card = read_card(path, Recipe)
        stage = card.coarse
        scale = f"{stage.iterations:,} x {stage.batch} windows of {stage.window} voxels, width {card.network.width}"
        rows.append((name, card.recipe.description, scale, card.reference.paper))
    _show("training recipes", ("name", "what it is", "coarse stage", "paper"), rows)


def benchmarks(*, collection: Collection = ()) -> None:
    """List the benchmarks."""
    from robust3d.benchmarks.card import read_benchmark_card
    from robust3d.foundation.collections import Collections

    collections = Collections.open(collection)
    rows = []
    for name in collections.entries("benchmarks"):
        card = read_benchmark_card(name, collections)
        about = card.benchmark
        rows.append(
            (name, ", ".join(about.models), ", ".join(about.attacks), str(card.data.cases), str(card.threat.build()))
        )
    _show("benchmarks", ("name", "models", "attacks", "cases", "threat model"), rows)


def _show(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title)
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=number == 0)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
