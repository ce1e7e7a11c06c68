# SPDX-License-Identifier: Apache-2.0
"""Ratios, what the smoke run refuses, and runs that go on: by a clock that the contenders move."""

import json

import pytest

from . import contest, gate, suite
from .contest import Figure, run_contest


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setitem(contest.CLOCKS, "moved", lambda: now[0])
    return now


def test_ratio_is_the_median_over_the_rounds_that_count(clock) -> None:
    # The first round, which does not count, takes 100 seconds.
    seconds = iter([100.0, 2.0, 8.0, 3.0])

    def slow() -> None:
        clock[0] += next(seconds)

    def quick() -> None:
        clock[0] += 2.0

    figures = [Figure("slow / quick", "slow", "quick"), Figure("slow / absent", "slow", "absent")]
    result = run_contest({"slow": slow, "quick": quick}, figures, rounds=3, clock="moved")
    assert result["seconds"] == {"slow": 3.0, "quick": 2.0}
    assert result["ratios"] == {
        "slow / quick": {"median": 1.5, "least": 1.0, "largest": 4.0, "low_precision": False, "higher_is_better": True},
    }


def test_contenders_take_turns_and_change_places(clock) -> None:
    order: list[str] = []
    run_contest({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, [], rounds=2, clock="moved")
    assert order == ["a", "b", "a", "b", "b", "a"]


KIND = {"architecture": "x86_64", "capability": "AVX512", "bf16_matrix_instructions": True}


def section(exact: float, fast: float, **kind) -> dict:
    ratios = {
        "exact": {"median": exact, "low_precision": False, "higher_is_better": True},
        "fast": {"median": fast, "low_precision": True, "higher_is_better": True},
    }
    return {"s": KIND | kind | {"ratios": ratios}}


def test_smoke_refuses_less_than_half_of_the_committed_ratio() -> None:
    committed = section(2.0, 6.0)
    assert gate.failures(section(1.0, 3.0), committed) == ([], [])
    fallen, _ = gate.failures(section(0.99, 2.9), committed)
    assert len(fallen) == 2


def test_smoke_refuses_more_than_twice_the_committed_cost() -> None:
    def cost(median: float) -> dict:
        return {"s": KIND | {"ratios": {"c": {"median": median, "low_precision": False, "higher_is_better": False}}}}

    assert gate.failures(cost(2.2), cost(1.1)) == ([], [])
    assert gate.failures(cost(0.1), cost(1.1)) == ([], [])
    assert gate.failures(cost(2.3), cost(1.1))[0] == ["s: c is 2.30, committed 1.10"]


def test_smoke_leaves_bfloat16_out_on_a_machine_of_another_kind() -> None:
    fallen, skipped = gate.failures(section(0.5, 0.5, bf16_matrix_instructions=False), section(2.0, 6.0))
    assert [line.split(" is ")[0] for line in fallen] == ["s: exact"]
    assert skipped == ["s: fast"]


def test_a_stopped_run_goes_on_and_changed_settings_measure_anew(tmp_path) -> None:
    measured: list[str] = []

    def one(name: str):
        def measure(*, rounds: int, clock: str) -> dict[str, object]:
            if name == "memory" and len(measured) == 1:
                raise KeyboardInterrupt
            measured.append(name)
            return {"ratios": {}, "rounds": rounds}

        return measure

    sections = {name: one(name) for name in ("growth", "memory")}
    path = tmp_path / "speed.json"

    def run(rounds: int = 5, fresh: bool = False) -> None:
        suite.run_suite(sections, path, rounds=rounds, clock="wall", fresh=fresh, say=lambda text: None)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert list(json.loads(path.read_text())) == ["growth"]
    measured.append("interrupted")
    run()
    assert measured == ["growth", "interrupted", "memory"]
    run(rounds=6)
    run(rounds=6, fresh=True)
    assert measured[3:] == ["growth", "memory"] * 2
