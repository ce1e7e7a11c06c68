# SPDX-License-Identifier: Apache-2.0
"""Hashes of the weight files that a run used, computed anew."""

from __future__ import annotations

from collections.abc import Iterable

from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.results import ResultCell
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.networks.weights import check_weights
from robust3d.zoo.card import ModelCard
from robust3d.zoo.load import split_name


def models_of(cell: ResultCell) -> list[str]:
    """Return the models that a cell needs: the one that predicts, and the source of a transfer attack."""
    source = "" if cell.attack == CLEAN else cell.attack.partition("@")[2]
    return [cell.member or cell.model, *([source] if source else [])]


def weight_problems(names: Iterable[str], collections: Collections) -> dict[str, list[str]]:
    """Return what is wrong with card and weight files of each model, a clause each."""
    found: dict[str, list[str]] = {}
    for name in names:
        problems = found.setdefault(name, [])
        try:
            path = collections.find("zoo", split_name(name)[0])
            stages = read_card(path, ModelCard).stages
        except InputError as error:
            problems.append(str(error))
            continue
        for stage in stages.values():
            try:
                check_weights(stage.weight_file(path.parent), stage.sha256)
            except InputError as error:
                problems.append(str(error))
    return found
