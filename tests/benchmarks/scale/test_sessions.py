# SPDX-License-Identifier: Apache-2.0
"""Sessions of one folder one after another: what an earlier one failed at or named otherwise does not stay."""

import shutil
from dataclasses import replace

import pytest

from robust3d.attacks.cards import load_attack
from robust3d.benchmarks.run import Benchmark
from robust3d.benchmarks.scale.losses import Losses
from robust3d.benchmarks.scale.progress import read_progress
from robust3d.benchmarks.scale.pulse import PATIENCE, Pulse
from robust3d.benchmarks.scale.runner import Runner
from robust3d.benchmarks.scale.session import Session, run_benchmark
from robust3d.benchmarks.scale.shard import Shard
from robust3d.benchmarks.store import Store
from robust3d.data.phantoms import PhantomDataset
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.threat.model import ThreatModel
from robust3d.zoo.load import load_model

PHANTOMS = PhantomDataset("test", 2, (40, 36, 32), (6.0, 6.0, 8.0))


class Cases:
    """Phantoms by other names; ``broken`` ones cannot be read."""

    def __init__(self, named: dict[str, str], broken: tuple[str, ...] = ()) -> None:
        self.names = tuple(named)
        self.named, self.broken = named, broken

    channels = 1

    def load(self, name: str):
        if name in self.broken:
            raise InputError(f"case {name} cannot be read: Input/output error")
        return replace(PHANTOMS.load(self.named[name]), name=name)


class Request:
    """A request whose benchmark is already there."""

    device = "cpu"

    def __init__(self, benchmark: Benchmark) -> None:
        self.open = lambda: benchmark


@pytest.fixture
def session(tiny_zoo, tmp_path):
    pipeline = load_model("tiny", device="cpu", collections=Collections.open([tiny_zoo]))
    threat = ThreatModel(epsilon=10.2, unit="HU", valid=(-100, 240))

    def run(cases: Cases, shard: str = "1/1", **options) -> Session:
        benchmark = Benchmark("b", "B", ["tiny"], [load_attack("shift")], cases, threat, 0, lambda _: pipeline)
        options = {"started": lambda *_: lambda *_: None} | options
        return run_benchmark(Request(benchmark), Store(tmp_path), shard=Shard.parse(shard), **options)

    return run


def test_a_failure_is_forgotten_once_the_case_can_be_read(session, tmp_path) -> None:
    named = {"a": "test_0000", "b": "test_0001"}
    assert not session(Cases(named)).failed
    again = session(Cases(named, broken=("b",)))
    assert [cell.case for cell in again.failed] == ["b", "b"]
    assert len(Store(tmp_path).failures()) == 2
    healed = session(Cases(named))
    assert (healed.failed, len(healed.records), Store(tmp_path).failures()) == ([], 4, {})


def test_shards_of_equal_cases_end(session) -> None:
    equal = Cases({"a": "test_0000", "b": "test_0000"})
    assert session(equal, "1/2").unfinished == 2
    last = session(equal, "2/2")
    assert (last.unfinished, [one["case"] for one in last.records]) == (0, ["a", "a"])
    assert [cell.case for cell in last.failed] == ["b", "b"]


def test_shards_of_renamed_cases_end(session, tmp_path) -> None:
    session(Cases({"a": "test_0000", "b": "test_0001"}))
    renamed = Cases({"c": "test_0000", "d": "test_0001"})
    assert session(renamed, "1/2").unfinished == 2
    last = session(renamed, "2/2")
    assert (last.unfinished, last.failed, [one["case"] for one in last.records]) == (0, [], ["c", "c", "d", "d"])
    assert [(one.whole.done, one.whole.waiting) for one in read_progress(tmp_path)] == [(4, 0), (4, 0)]


@pytest.mark.parametrize("patience", [0.0, -1.0, 9.9, float("nan")])
def test_a_patience_that_ends_working_processes_is_refused(session, patience) -> None:
    with pytest.raises(InputError, match="must be 10 seconds or more"):
        session(Cases({"a": "test_0000"}), patience=patience)


def test_a_worker_lost_after_it_stored_its_cell_is_forgotten(tiny_zoo, tmp_path) -> None:
    pipeline = load_model("tiny", device="cpu", collections=Collections.open([tiny_zoo]))
    threat = ThreatModel(epsilon=10.2, unit="HU", valid=(-100, 240))
    cases = Cases({"a": "test_0000"})
    benchmark = Benchmark("b", "B", ["tiny"], [load_attack("shift")], cases, threat, 0, lambda _: pipeline)
    store = Store(tmp_path)
    runner = Runner(benchmark, store, Pulse(PATIENCE), store.now())
    assert runner(0).state == "measured"
    Losses(store).add(benchmark.cells()[0].ticket(pipeline), "one was killed by SIGKILL")
    assert len(list((tmp_path / "losses").iterdir())) == 1
    assert runner(0).state == "stored"
    assert not list((tmp_path / "losses").iterdir())


def test_cells_that_vanish_during_the_run_are_told(session, tmp_path) -> None:
    named = {"a": "test_0000", "b": "test_0001"}

    def vanish(cell, *_) -> None:
        if (cell.case, cell.attack) == ("b", None):
            shutil.rmtree(tmp_path / "cells")

    with pytest.raises(InputError, match=r"3 finished cells are gone from .*cells, which was emptied"):
        session(Cases(named), started=lambda *_: vanish)
    assert len(session(Cases(named)).records) == 4
