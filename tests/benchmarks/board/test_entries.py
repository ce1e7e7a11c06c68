# SPDX-License-Identifier: Apache-2.0
"""Entries of the public leaderboard: made from a run, checked, and each planted fault named."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from robust3d.benchmarks.board import cards as comparing
from robust3d.benchmarks.board.board import Board, merge
from robust3d.benchmarks.board.cards import Cards
from robust3d.benchmarks.board.collection import check_entries
from robust3d.benchmarks.board.entry import Entry
from robust3d.benchmarks.board.read import EntryError, read_entry, schema_text
from robust3d.benchmarks.board.write import write_entries
from robust3d.benchmarks.card import read_benchmark_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.digest import digest_json

ROOT = Path(__file__).parents[3]
BOARD = ROOT / "leaderboards"
ENTRY = "table8/resdsn-c2f-natural__coarse.json"
MEANS = json.loads((BOARD / ENTRY).read_text())["summary"]["attacks"]
STRONGEST = min(MEANS, key=MEANS.get)


@pytest.fixture(scope="module")
def cards() -> Cards:
    return Cards(Collections((ROOT,)))


@pytest.fixture
def change(tmp_path, cards):
    """Write a changed copy of a committed entry and return what is wrong with it."""
    content = json.loads((BOARD / ENTRY).read_text())

    def problems(edit, compared: Cards = cards) -> list[str]:
        changed = copy.deepcopy(content)
        edit(changed)
        file = tmp_path / ENTRY
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(changed))
        try:
            check_entries([file], compared)
        except EntryError as error:
            return [problem.removeprefix(f"{file}: ") for problem in error.problems]
        return []

    return problems


def attacked(content: dict) -> dict:
    """The first cell of the strongest attack, that of test_0000."""
    return next(cell for cell in content["cells"] if cell["attack"] == STRONGEST)


def strongest(content: dict) -> dict:
    return next(attack for attack in content["attacks"] if attack["name"] == STRONGEST)


def test_committed_entries_are_valid_and_follow_from_the_committed_results(cards) -> None:
    checked = check_entries([BOARD], cards)
    assert not checked.notes
    for entry in checked.entries.values():
        lines = (ROOT / "benchmarks" / "baselines" / entry.benchmark.name / "results.jsonl").read_text().splitlines()
        cells = [one for one in map(json.loads, lines) if one["model"] == entry.model.name]
        scores = {attack: [] for attack in (one["attack"] for one in cells)}
        for one in cells:
            each = [2 * n["tp"] / (2 * n["tp"] + n["fp"] + n["fn"]) for n in one["classes"].values()]
            scores[one["attack"]].append(100 * np.mean(each))
        clean = scores.pop("clean")
        assert entry.summary.clean_dsc == pytest.approx(np.mean(clean), abs=0.0051)
        assert entry.summary.worst_dsc == pytest.approx(np.mean(np.min(list(scores.values()), axis=0)), abs=0.0051)
        assert {one.cell for one in entry.cells} == {one["cell"] for one in cells}


def test_a_row_is_first_by_its_best_known_dsc(cards) -> None:
    tables = {table.benchmark: table for table in merge(check_entries([BOARD], cards)).tables}
    assert list(tables) == ["head-neck-ct", "hippocampus", "phantom-pancreas", "table8"]
    for table in tables.values():
        best = [row.best_known_dsc for row in table.rows]
        assert best == sorted(best, reverse=True)
        assert best == [row.worst_dsc for row in table.rows]


def test_an_unchanged_entry_passes(change) -> None:
    assert change(lambda content: None) == []


FAULTS = {
    "counts": (lambda c: attacked(c)["classes"]["1"].update(fp=0), "counts that make"),
    "moved voxels": (lambda c: attacked(c)["classes"]["1"].update(tn=1), "other voxels of label and volume"),
    "weights": (lambda c: c["model"].update(weights_sha256="0" * 64), "weights has hash 000000000000"),
    "card": (lambda c: c["model"].update(card_sha256="0" * 64), "card of the model has hash"),
    "benchmark": (lambda c: c["benchmark"].update(card_sha256="0" * 64), "card of the benchmark has hash"),
    "volume": (lambda c: c["cases"][0].update(volume_sha256="0" * 64), "its settings make"),
    "key": (lambda c: attacked(c).update(cell="0" * 64), "has key 000000000000"),
    "bound": (lambda c: attacked(c).update(linf=10.3), "has linf 10.3 and may have 10.2 HU"),
    "norm": (lambda c: attacked(c).update(distance=11.0), "has distance 11 and may have 10.2 HU"),
    "clean that moved": (lambda c: c["cells"][0].update(linf=1.0), "has linf 1 and may have 0 HU"),
    "missing cell": (lambda c: c["cells"].remove(attacked(c)), f"lacks {STRONGEST} on test_0000"),
    "repeated cell": (lambda c: c["cells"].append(attacked(c)), f"repeats {STRONGEST} on test_0000"),
    "missing case": (lambda c: c["cases"].pop(), "19 cases and the benchmark has 20"),
    "missing attack": (lambda c: c["attacks"].remove(strongest(c)), f"lacks {STRONGEST}, which the benchmark has"),
    "weaker attack": (lambda c: strongest(c)["settings"].update(steps=1), f"settings of {STRONGEST} are not those"),
    "hidden attack": (lambda c: strongest(c).update(bounded=False), "has bounded = False and its card True"),
    "threat": (lambda c: c["threat"].update(epsilon=5.0), "threat model is linf epsilon 5 HU"),
    "seed": (lambda c: c.update(seed=1), "seed is 1 and the benchmark's 0"),
    "summary": (lambda c: c["summary"].update(worst_dsc=50.0), "summary has worst_dsc 50.0 and the counts make"),
    "cell schema": (lambda c: c["benchmark"].update(cell_schema=1), "cells have schema 1"),
    "place": (lambda c: c["benchmark"].update(name="table9"), "its place in a collection is table9/"),
    "description": (lambda c: c["model"].update(description="better"), "description of the model is not that"),
    "schema": (lambda c: c.update(schema=7), "has schema 7 and entries have schema 1"),
    "script in a link": (lambda c: c["model"].update(link="javascript:alert(1)"), "model.link"),
    "a way out of the folder": (lambda c: c["benchmark"].update(name="../up"), "benchmark.name"),
    "not a number": (lambda c: attacked(c).update(linf=float("nan")), "NaN is no number of JSON"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_named(change, fault) -> None:
    edit, sentence = FAULTS[fault]
    assert any(sentence in problem for problem in change(edit))


def test_all_faults_are_named_at_once(change) -> None:
    def edit(content: dict) -> None:
        FAULTS["bound"][0](content)
        FAULTS["weights"][0](content)
        content["summary"]["clean_dsc"] = 99.0

    found = change(edit)
    assert any("may have 10.2 HU" in one for one in found)
    assert any("weights has hash" in one for one in found)
    misspelt = change(lambda content: (content.update(sed=1), content["model"].pop("licence")))
    assert [one.split(":")[0] for one in misspelt] == ["model.licence", "sed"]


def test_volumes_are_compared_where_asked(change) -> None:
    class Hashes(Cards):
        """Cards with one volume that is another."""

        def __init__(self) -> None:
            super().__init__(Collections((ROOT,)), volumes=True)
            cases = json.loads((BOARD / ENTRY).read_text())["cases"]
            hashes = {one["case"]: one["volume_sha256"] for one in cases}
            self._hashes = {"table8": hashes | {"test_0004": "f" * 64}}

    (problem,) = change(lambda content: None, Hashes())
    assert problem.startswith("volume test_0004 has hash")
    assert problem.endswith("the one here ffffffffffff")


def test_one_benchmark_has_one_set_of_volumes(tmp_path, cards) -> None:
    shutil.copytree(BOARD / "table8", tmp_path / "table8")
    file = tmp_path / "table8" / "resdsn-c2f-madry__coarse.json"
    file.write_text(file.read_text().replace('"case": "test_0001", "volume', '"case": "test_9999", "volume'))
    with pytest.raises(EntryError, match=r"other cases than|test_9999"):
        check_entries([tmp_path], cards)


def claim(content: dict, gain: int) -> dict:
    """A claim by an attack from outside that turns ``gain`` voxels of the strongest attack's hits into misses."""
    cells = []
    for own in [cell for cell in content["cells"] if cell["attack"] == STRONGEST]:
        cell = copy.deepcopy(own) | {"attack": "outside", "cell": None, "gradients": None, "queries": None}
        counts = cell["classes"]["1"]
        moved = min(gain, counts["tp"])
        counts.update(tp=counts["tp"] - moved, fn=counts["fn"] + moved)
        cell["dsc"] = 2 * counts["tp"] / (2 * counts["tp"] + counts["fp"] + counts["fn"])
        cells.append(cell)
    return {
        "attack": "outside",
        "settings": None,
        "by": "someone",
        "date": "2026-11-01",
        "evidence": {"url": "https://example.org/volumes.zip", "sha256": "e" * 64},
        "cells": cells,
    }


def test_a_stronger_attack_lowers_the_row(change, tmp_path, cards) -> None:
    assert change(lambda content: content["external"].append(claim(content, 10**9))) == []
    (table,) = merge(check_entries([tmp_path / ENTRY], cards)).tables
    (row,) = table.rows
    # No hit is left in any case.
    assert row.best_known_dsc == 0
    assert row.worst_dsc > 0
    assert [(one.attack, one.by, one.dsc) for one in row.claims] == [("outside", "someone", 0)]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda made: None, "lowers the worst case of no case"),
        (lambda made: made["cells"].pop(), "lacks outside on test_0019"),
        (lambda made: made["cells"][0].update(linf=99.0), "has linf 99 and may have 10.2 HU"),
        (lambda made: made["cells"][0].update(dsc=0.0), "counts that make"),
        (lambda made: made["evidence"].update(url="http://example.org"), "external.0.evidence.url"),
    ],
)
def test_a_wrong_claim_is_refused(change, edit, sentence) -> None:
    def add(content: dict) -> None:
        made = claim(content, 0)
        edit(made)
        content["external"].append(made)

    assert any(sentence in problem for problem in change(add))


def test_the_doctor_of_the_same_weights_stands_beside_the_figures(tmp_path, cards) -> None:
    shutil.copytree(BOARD / "table8", tmp_path / "table8")
    weights = json.loads((BOARD / ENTRY).read_text())["model"]["weights_sha256"]
    finding = {"check": "random signs are weak", "verdict": "flag", "figures": [], "meaning": "", "remedy": "r"}
    report = {
        "schema": 1,
        "model": "m",
        "model_sha256": weights,
        "threat": {"norm": "linf", "epsilon": 10.2, "unit": "HU", "valid": [-100.0, 240.0], "storage": "float32"},
        "attack": {"name": "ifgsm"},
        "cases": [{"case": "c", "findings": [finding, finding | {"check": "b", "verdict": "ok"}]}],
    }
    (tmp_path / "doctor").mkdir()
    (tmp_path / "doctor" / "natural.json").write_text(json.dumps(report))
    (table,) = merge(check_entries([tmp_path], cards)).tables
    doctor = {row.model: row.doctor for row in table.rows}
    assert doctor == {
        "resdsn-c2f-natural/coarse": "1 flag: random signs are weak",
        "resdsn-c2f-madry/coarse": "not examined",
    }
    (tmp_path / "doctor" / "natural.json").write_text("{}")
    with pytest.raises(EntryError, match=r"natural.json is no report of the doctor"):
        check_entries([tmp_path], cards)


@pytest.mark.parametrize(("name", "kind"), [("leaderboard-entry", Entry), ("leaderboard", Board)])
def test_the_published_schemas_are_those_of_the_code(name, kind) -> None:
    assert (ROOT / "docs" / f"{name}.schema.json").read_text() == schema_text(kind)


def test_two_runs_for_one_place_are_refused(tmp_path, cards) -> None:
    entry = read_entry(BOARD / ENTRY)
    with pytest.raises(EntryError, match=f"{ENTRY}: made 2 times"):
        write_entries([entry, entry], tmp_path, cards)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("wanted", "problem"), [(None, None), (19, "20 cases and the benchmark has 19")])
def test_a_benchmark_of_a_folder_has_as_many_cases_as_its_card_says(cards, monkeypatch, wanted, problem) -> None:
    entry, card = read_entry(BOARD / ENTRY), read_benchmark_card("table8", cards.collections)
    about = card.data.model_copy(update={"source": "folder", "cases": wanted})
    monkeypatch.setattr(comparing, "read_benchmark_card", lambda *_: card.model_copy(update={"data": about}))
    assert [one for one in cards.problems(entry) if "cases" in one] == ([problem] if problem else [])


def test_a_file_is_the_text_of_its_entry() -> None:
    for file in BOARD.glob("[!d]*/*.json"):
        assert read_entry(file).text() == file.read_text()


def test_keys_are_hashes_of_what_decides_a_cell() -> None:
    content = json.loads((BOARD / ENTRY).read_text())
    clean = {"schema": 2, "model": content["model"]["weights_sha256"], "pipeline": content["model"]["pipeline"]}
    clean["volume"] = content["cases"][0]["volume_sha256"]
    assert content["cells"][0]["cell"] == digest_json(clean)
