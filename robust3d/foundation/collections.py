# SPDX-License-Identifier: Apache-2.0
"""The one resolver of the four collections: attacks, defenses, benchmarks and zoo.

Searched in this order: folders that the user named, the current folder if it holds a collection, and the
collections built into the package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robust3d.foundation.errors import InputError, nearest

Kind = Literal["attacks", "defenses", "benchmarks", "zoo"]
KINDS: tuple[Kind, ...] = ("attacks", "defenses", "benchmarks", "zoo")

_NOUNS = {"attacks": "attack", "defenses": "training recipe", "benchmarks": "benchmark", "zoo": "model"}


def built_in() -> Path:
    """Return the root of the built-in collections: inside a wheel, or the checkout that the package runs from."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_collections"
    return inside if inside.is_dir() else package.parent


@dataclass(frozen=True)
class Collections:
    """Folders that hold collections, the first one with an entry wins.

    Parameters
    ----------
    roots : sequence of Path
        Each holds some of ``attacks/``, ``defenses/``, ``benchmarks/``, ``zoo/``.
    named : sequence of Path
        Those of them that the user named.
    """

    roots: Sequence[Path]
    named: Sequence[Path] = ()

    @classmethod
    def open(cls, named: Sequence[Path] = ()) -> Collections:
        """Return the collections that a user sees.

        Raises
        ------
        InputError
            If a named folder holds none of the four.
        """
        for root in named:
            if not any((root / kind).is_dir() for kind in KINDS):
                raise InputError(f"collection {root} holds none of the folders {', '.join(KINDS)}")
        roots = [root.resolve() for root in (*named, Path.cwd(), built_in())]
        return cls(tuple(dict.fromkeys(roots)), tuple(roots[: len(named)]))

    def is_named(self, card: Path) -> bool:
        """Return whether a card lies in a collection that the user named, so that it may bring code."""
        return any(card.resolve().is_relative_to(root) for root in self.named)

    def find(self, kind: Kind, name: str) -> Path:
        """Return the card of an entry: ``<kind>/<name>.toml`` or ``<kind>/<name>/card.toml``.

        A name that is a path to an existing ``.toml`` file is that card.

        Raises
        ------
        InputError
            If there is none; names the nearest entry.
        """
        if name.endswith(".toml"):
            if Path(name).is_file():
                return Path(name)
            raise InputError(f"{_NOUNS[kind]} card {name} does not exist")
        entries = self.entries(kind)
        if name not in entries:
            raise InputError(f"unknown {_NOUNS[kind]} {name!r}; {nearest(name, entries)}")
        return entries[name]

    def entries(self, kind: Kind) -> dict[str, Path]:
        """Return the cards of a kind by name, sorted."""
        found: dict[str, Path] = {}
        for root in self.roots:
            for name, path in _cards(root / kind):
                found.setdefault(name, path)
        return dict(sorted(found.items()))


def _cards(folder: Path) -> Iterator[tuple[str, Path]]:
    if folder.is_dir():
        for path in folder.iterdir():
            if path.suffix == ".toml" and path.is_file():
                yield path.stem, path
            elif (path / "card.toml").is_file():
                yield path.name, path / "card.toml"
            else:
                # A cross-validated model: one entry a fold.
                for card in path.glob("fold-*/card.toml"):
                    yield f"{path.name}/{card.parent.name}", card
