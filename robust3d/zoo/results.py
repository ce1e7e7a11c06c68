# SPDX-License-Identifier: Apache-2.0
"""What the card of a model says that it reached."""

from __future__ import annotations

from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.zoo.card import ModelCard, ResultsCard
from robust3d.zoo.formats.locate import is_foreign, model_path
from robust3d.zoo.load import split_name


def card_results(name: str, collections: Collections) -> ResultsCard | None:
    """Return the figures of a whole model; ``None`` for a stage alone, a model in folds and a card without figures.

    Raises
    ------
    InputError
        If its card is wrong.
    """
    given = model_path(name, collections)
    model, stage = (name, "") if given else split_name(name)
    path = given or collections.entries("zoo").get(model)
    # An unknown model is told by whoever loads it.
    if stage or path is None or is_foreign(path):
        return None
    return read_card(path, ModelCard).results
