# SPDX-License-Identifier: Apache-2.0
"""Entries and claims from finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from robust3d.benchmarks.board.cards import benchmark_digest, model_digest
from robust3d.benchmarks.board.entry import SCHEMA, Claim, Entry, Evidence
from robust3d.benchmarks.board.read import checked_part
from robust3d.benchmarks.board.summary import summarise_cells
from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.cell import SCHEMA as CELL_SCHEMA
from robust3d.benchmarks.results import read_results
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.digest import canonical_json
from robust3d.foundation.errors import InputError
from robust3d.zoo.card import ModelCard
from robust3d.zoo.load import split_name

_CELL = ("case", "attack", "cell", "dsc", "linf", "distance", "gradients", "queries", "classes")


def make_entries(run: Path, *, by: str, day: date, link: str | None, collections: Collections) -> list[Entry]:
    """Return one entry a model of a finished run.

    Parameters
    ----------
    run : Path
        Folder of the run, or its ``results.jsonl``.
    by : str
        Who submits.
    day : date
        When.
    link : str, optional
        Address of the model's weights or paper.
    collections : Collections
        Where the cards of benchmark and models lie.

    Raises
    ------
    InputError
        If the results are broken, a card is not there, or a model is cross-validated.
    """
    records = [*read_results(run).records().values()]
    benchmark = collections.find("benchmarks", records[0]["benchmark"])
    entries = []
    for name in dict.fromkeys(record["model"] for record in records):
        own = [record for record in records if record["model"] == name]
        folds = sorted({record["member"] for record in own if record.get("member", name) != name})
        if folds:
            raise InputError(
                f"{name} in {run} is cross-validated ({', '.join(folds)}), and an entry holds the weights of one "
                "model; add a run of other models"
            )
        content = _content(own, benchmark, collections.find("zoo", split_name(name)[0]))
        content["model"]["link"] = link
        content["submitted"] = {"by": by, "date": day.isoformat()}
        entries.append(_complete(content, run))
    return entries


def make_claims(run: Path, entry: Entry, *, by: str, day: date, evidence: Evidence) -> list[Claim]:
    """Return one claim for every attack of a run on the entry's model that the entry lacks.

    The run may be of other settings: checking the entry tells whether a claim is within its threat model, and lowers
    the worst case of any case.

    Raises
    ------
    InputError
        If the run has no attack that the entry lacks on this model, or one that keeps to no epsilon.
    """
    records = [one for one in read_results(run).records().values() if one["model"] == entry.model.name]
    known = {one.name for one in entry.attacks} | {one.attack for one in entry.external} | {CLEAN}
    claims = []
    for attack in dict.fromkeys(one["attack"] for one in records if one["attack"] not in known):
        own = [one for one in records if one["attack"] == attack]
        if not own[0]["bounded"]:
            raise InputError(f"{attack} in {run} keeps to no epsilon, and so lowers no row; leave it out")
        content = {
            "attack": attack,
            "settings": own[0]["settings"]["attack"],
            "by": by,
            "date": day.isoformat(),
            "evidence": evidence.model_dump(),
            "cells": [{key: one[key] for key in _CELL} for one in own],
        }
        claims.append(checked_part(content, Claim, where=f"claim of {run}"))
    if not claims:
        raise InputError(f"{run} holds no attack on {entry.model.name} that its entry lacks; nothing to claim")
    return claims


def merged(entry: Entry, earlier: Entry) -> Entry:
    """Return a new entry with what is to be kept of the earlier one in its file.

    Claims stand as long as model, cases, threat model and seed are the same; where nothing else changed, so do
    submitter and date.
    """
    same = _identity(entry) == _identity(earlier)
    own = {one.name for one in entry.attacks}
    claims = tuple(claim for claim in earlier.external if same and claim.attack not in own)
    kept = entry.model_copy(update={"external": claims})
    signed = kept.model_copy(update={"submitted": earlier.submitted})
    return earlier if signed == earlier else kept


def _identity(entry: Entry) -> tuple[Any, ...]:
    model = entry.model
    return model.weights_sha256, canonical_json(model.pipeline), entry.cases, entry.threat, entry.seed


def _content(records: Sequence[dict[str, Any]], benchmark: Path, model: Path) -> dict[str, Any]:
    first = records[0]
    about = read_card(model, ModelCard).model
    crafted = {one["attack"]: one for one in records if one["attack"] != CLEAN}
    return {
        "schema": SCHEMA,
        "benchmark": {
            "name": first["benchmark"],
            "card_sha256": benchmark_digest(benchmark),
            "cell_schema": CELL_SCHEMA,
        },
        "model": {
            "name": first["model"],
            **{key: getattr(about, key) for key in ("description", "defense", "data", "licence")},
            "card_sha256": model_digest(model),
            "weights_sha256": first["model_sha256"],
            "pipeline": first["settings"]["pipeline"],
        },
        "threat": first["threat"],
        "seed": first["seed"],
        "environment": first["environment"],
        "cases": [
            {"case": case, "volume_sha256": volume}
            for case, volume in {one["case"]: one["volume_sha256"] for one in records}.items()
        ],
        "attacks": [
            {"name": name, "bounded": one["bounded"], "settings": one["settings"]["attack"]}
            for name, one in crafted.items()
        ],
        "cells": [{key: one[key] for key in _CELL} for one in records],
    }


def _complete(content: dict[str, Any], run: Path) -> Entry:
    """Return the entry with its summary."""
    # Any figures will do until those of the checked cells are there.
    blank = {"cases": 0, "clean_dsc": 0.0, "clean_std": 0.0, "attacks": {}}
    blank |= dict.fromkeys(("worst_dsc", "drop", "drop_ci_low", "drop_ci_high"))
    entry = checked_part(content | {"summary": blank}, Entry, where=f"entry of {run}")
    wanted = len(entry.cases) * (1 + len(entry.attacks))
    if len(entry.cells) != wanted:
        raise InputError(
            f"{run} holds {len(entry.cells)} of {wanted} cells of {entry.model.name}; call robust3d run again, which "
            "keeps those that are finished"
        )
    return entry.model_copy(update={"summary": summarise_cells(entry.cells, entry.attacks)})
