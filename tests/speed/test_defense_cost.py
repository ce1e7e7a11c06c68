# SPDX-License-Identifier: Apache-2.0
"""The cost of the defenses: the documented table is the measured one, and its pattern holds anew."""

import json
from pathlib import Path

import pytest

from tests.speed.defense_cost import CARDS, measure, table

DOCS = Path(__file__).parents[2] / "docs"


def test_the_documented_costs_are_the_measured_ones() -> None:
    measured = json.loads((DOCS / "defense-cost.json").read_text(encoding="utf-8"))
    assert [row["card"] for row in measured["rows"]] == list(CARDS)
    assert table(measured) in (DOCS / "defenses.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_passes_are_an_upper_bound_of_the_cost_and_attacks_have_one() -> None:
    """A pass of the attack runs on a folded copy without gradients of the weights, so it costs less than an update."""
    ratios = {row["card"]: (row["ratio"], row["passes"]) for row in measure(rounds=3)["rows"]}
    assert ratios["natural"] == (1.0, 1)
    for name in ("fast", "madry", "segpgd", "trades"):
        ratio, passes = ratios[name]
        assert 1.1 < ratio < 1.3 * passes
    assert ratios["fast"] < ratios["madry"] < ratios["trades"]
