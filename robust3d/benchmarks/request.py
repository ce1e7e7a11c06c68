# SPDX-License-Identifier: Apache-2.0
"""What a user asks of a benchmark, small enough to be handed to other processes, which open it themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from robust3d.benchmarks.attacks import find_attack
from robust3d.benchmarks.card import read_benchmark_card
from robust3d.benchmarks.run import Benchmark
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.precision import Precision
from robust3d.zoo.load import load_model
from robust3d.zoo.members import Members
from robust3d.zoo.results import card_results


@dataclass(frozen=True)
class RunRequest:
    """A benchmark card and what is to be different from it.

    Parameters
    ----------
    card : str
        Name of a benchmark, or a path to its card.
    models, attacks : tuple of str
        Instead of the card's, unless empty.
    epsilon : tuple of float
        Instead of the card's, unless empty: one for all channels, or one a channel.
    seed, storage, precision
        Instead of the card's, unless ``None``.
    data : Path or None
        Folder with the cases, for cards that do not generate them.
    device : str
        See :func:`load_model`.
    collections : tuple of Path
        Folders that are searched first.
    """

    card: str
    models: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    epsilon: tuple[float, ...] = ()
    seed: int | None = None
    storage: Literal["float32", "int16"] | None = None
    data: Path | None = None
    device: str = "auto"
    precision: Precision | None = None
    collections: tuple[Path, ...] = ()

    def open(self, device: str | None = None) -> Benchmark:
        """Return the benchmark, on another device if one is given.

        Raises
        ------
        InputError
            If a card, the data or the threat model is wrong, or there is no such attack.
        """
        collections = Collections.open(self.collections)
        card = read_benchmark_card(self.card, collections)
        about = card.benchmark

        # Sources of transfer attacks and folds of a cross-validated model take turns within a case.
        @lru_cache(maxsize=8)
        def load(name: str) -> Pipeline:
            return load_model(
                name,
                device=device or self.device,
                precision=self.precision or about.precision,
                collections=collections,
            )

        models = self.models or about.models
        if not models:
            raise InputError(f"benchmark {about.name} brings no model; name yours with --model")
        return Benchmark(
            name=about.name,
            title=about.title,
            models=models,
            attacks=[find_attack(name, load, collections) for name in self.attacks or about.attacks],
            dataset=card.dataset(None if self.data is None else str(self.data), collections),
            threat=card.threat.build(epsilon=self.epsilon or None, storage=self.storage),
            seed=about.seed if self.seed is None else self.seed,
            load=load,
            member=Members(collections),
            figures={name: found for name in models if (found := card_results(name, collections)) is not None},
        )
