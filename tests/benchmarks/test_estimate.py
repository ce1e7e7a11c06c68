# SPDX-License-Identifier: Apache-2.0
"""Estimates: what a rehearsal says an attack asks for, and windows, against those that a real run counts."""

from collections import Counter

import numpy as np
import pytest

from robust3d.attacks.cards import load_attack
from robust3d.benchmarks import estimate as estimating
from robust3d.benchmarks.cell import Cell
from robust3d.benchmarks.estimate import estimate
from robust3d.benchmarks.rehearsal import PREDICT, Request, rehearse
from robust3d.benchmarks.run import Benchmark
from robust3d.benchmarks.scale.pulse import PATIENCE, Pulse
from robust3d.benchmarks.scale.runner import Runner, run_here
from robust3d.benchmarks.store import Store
from robust3d.benchmarks.workload import StageWindows, spent, windows_of
from robust3d.data.phantoms import PhantomDataset
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.report.estimate import estimate_line, estimate_table
from robust3d.segment.transform import Smoothing
from robust3d.segment.transformed import Transformed
from robust3d.threat.model import ThreatModel
from robust3d.zoo.load import load_model

THREAT = ThreatModel(epsilon=10.2, unit="HU", valid=(-100, 240))
CASES = PhantomDataset("test", 2, (40, 36, 32), (6.0, 6.0, 8.0))


@pytest.fixture(scope="module")
def collections(tiny_zoo) -> Collections:
    return Collections.open([tiny_zoo])


@pytest.fixture(scope="module")
def pipeline(collections):
    return load_model("tiny", device="cpu", collections=collections)


@pytest.mark.parametrize("name", ["random-sign", "fgsm", "ifgsm", "pgd", "mifgsm", "segpgd", "shift", "vafa"])
def test_a_rehearsal_asks_for_what_the_attack_asks_for(name, pipeline) -> None:
    attack = load_attack(name)
    asked = rehearse(attack, THREAT, classes=2, stages=2)
    done = attack(pipeline, CASES.load("test_0000"), THREAT, 0)
    assert sum(times for request, times in asked.items() if request != PREDICT) == done.gradients
    assert asked[PREDICT] == done.queries


@pytest.mark.parametrize(("target", "coarse", "fine"), [("c2f", 0.15, 0.8), ("coarse", 0.8, 0.0), ("fine", 0.0, 0.8)])
def test_of_a_cascade_attacked_as_a_whole_few_coarse_windows_are_decisive(target, coarse, fine) -> None:
    stages = [StageWindows(200, 20, 30, True), StageWindows(50, 10, 8, True)]
    ((_, first), (_, second)) = spent(Counter({Request("fused", "decisive", target): 3}), stages)
    assert (first, second) == pytest.approx((3 * coarse * 200, 3 * fine * 50))


def test_attacks_that_may_end_early_are_rehearsed_to_the_end() -> None:
    square = load_attack("square")
    assert rehearse(square, THREAT, classes=2, stages=2)[PREDICT] == square.queries
    minimal = load_attack("minimal-dag")
    trials = 1 + minimal.halvings
    asked = rehearse(minimal, THREAT, classes=2, stages=2)
    assert sum(asked.values()) - asked[PREDICT] == trials * minimal.inner.steps


def benchmark(collections, pipeline, attacks, loads: list[str] | None = None, **options) -> Benchmark:
    def load(name: str):
        if loads is not None:
            loads.append(name)
        return pipeline

    return Benchmark("b", "B", ["tiny"], [load_attack(name) for name in attacks], CASES, THREAT, 0, load, **options)


def test_windows_are_those_that_are_then_computed(collections, pipeline, tmp_path) -> None:
    work = benchmark(collections, pipeline, ["random-sign", "ifgsm-coarse"])
    expected = estimate(work, work.plan(), Store(tmp_path))
    volume = CASES.load("test_0000")
    for row in expected.rows:
        attack = None if row.attack == "clean" else load_attack(row.attack)
        record = Cell("b", "tiny", "test_0000", attack, THREAT, 0).measure(pipeline, volume)
        coarse = len(pipeline.coarse.grid.corners(volume.shape, pipeline.coarse.window))
        # The fine stage's box is that of the prediction here and that of the label in the estimate.
        label = np.argwhere(volume.label > 0)
        fine = pipeline.fine
        box = tuple(int(edge) for edge in label.max(0) - label.min(0) + 1 + 4)
        inside = len(fine.grid.corners(tuple(map(max, box, fine.window)), fine.window))
        assert row.windows == row.cells * (coarse + inside + record["gradient_windows"])
        assert row.seconds > 0
    assert [row.cells for row in expected.rows] == [2, 2, 2]
    assert "6 cells to measure (0 from before)" in estimate_line(expected)
    assert estimate_table(expected, "title").row_count == 3


def test_finished_cells_are_left_out(collections, pipeline, tmp_path) -> None:
    store = Store(tmp_path)
    work = benchmark(collections, pipeline, ["random-sign"])
    cell = Cell("b", "tiny", "test_0001", None, THREAT, 0)
    volume = CASES.load("test_0001")
    record = cell.measure(pipeline, volume)
    store.put(record["cell"], record)
    expected = estimate(work, work.plan(), store)
    assert expected.finished == 1
    assert {row.attack: row.cells for row in expected.rows} == {"clean": 1, "random-sign": 2}
    second = estimate(work, work.plan(), store, places=range(2, 4))
    assert (second.finished, second.cells) == (1, 1)
    pulse = Pulse(PATIENCE)
    run_here(Runner(work, store, pulse, store.now()), pulse, range(len(work.cells())), lambda place, outcome: None)
    done = estimate(work, work.plan(), store)
    assert (done.rows, done.finished, done.seconds, done.memory) == ((), 4, 0, 0)


def test_a_cascade_behind_a_transform_has_its_windows(collections, pipeline, tmp_path) -> None:
    smoothed = Transformed(pipeline, Smoothing(sigma=1.0, low=-100.0, high=240.0))
    volume = CASES.load("test_0000")
    assert windows_of(smoothed, volume) == windows_of(pipeline, volume)
    work = benchmark(collections, smoothed, ["fgsm"])
    assert [row.cells for row in estimate(work, work.plan(), Store(tmp_path)).rows] == [2, 2]


def test_a_probe_without_memory_is_one_sentence(collections, pipeline, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(estimating, "probe", full)
    work = benchmark(collections, pipeline, ["fgsm"])
    with pytest.raises(InputError, match="tiny cannot be probed: out of memory on cpu"):
        estimate(work, work.plan(), Store(tmp_path))
