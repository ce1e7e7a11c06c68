# SPDX-License-Identifier: Apache-2.0
"""Hashes of the weight files that a run used, computed anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.results import ResultCell
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.networks.weights import check_weights
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.precision import Precision
from robust3d.zoo.card import ModelCard
from robust3d.zoo.formats.locate import is_foreign, model_path
from robust3d.zoo.load import split_name


def models_of(cell: ResultCell) -> list[str]:
    """Return the models that a cell needs: the one that predicts, and the source of a transfer attack."""
    source = "" if cell.attack == CLEAN else cell.attack.partition("@")[2]
    return [cell.member or cell.model, *([source] if source else [])]


def weight_hashes(cells: Iterable[ResultCell]) -> dict[str, str]:
    """Return the hash of the weights by model that the cells need; of a mere source of transfer attacks empty."""
    found: dict[str, str] = {}
    for cell in cells:
        predicts, *sources = models_of(cell)
        found[predicts] = cell.model_sha256
        for source in sources:
            found.setdefault(source, "")
    return found


def weight_problems(
    hashes: Mapping[str, str], collections: Collections, load: Callable[[str, Precision], Pipeline]
) -> dict[str, list[str]]:
    """Return what is wrong with card and weights of each model, a clause each.

    Weight files are hashed; those of another format are loaded, and compared with what the cells say.
    """
    found: dict[str, list[str]] = {}
    for name, recorded in hashes.items():
        problems = found.setdefault(name, [])
        try:
            path = model_path(name, collections) or collections.find("zoo", split_name(name)[0])
            if is_foreign(path):
                now = load(name, "exact").weights_sha256
                if recorded and now != recorded:
                    problems.append(
                        f"model {name} has weights of SHA-256 {now[:16]}... and its cells were measured with "
                        f"{recorded[:16]}...; fetch it anew"
                    )
                continue
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
