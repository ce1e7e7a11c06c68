# SPDX-License-Identifier: Apache-2.0
"""A clean DSC far below the card's figure is warned of once a model, with both figures."""

import shutil
import warnings

import pytest

from robust3d.benchmarks.expectation import CleanExpectation
from robust3d.benchmarks.request import RunRequest
from robust3d.benchmarks.scale.session import run_benchmark
from robust3d.benchmarks.scale.shard import Shard
from robust3d.benchmarks.store import Store
from robust3d.zoo.card import ResultsCard

RESULTS = '\n[results]\nbenchmark = "tiny-bench"\nclean_dsc = {}\nworst_dsc = 0.0\n'


def told(figures: list[float], card: float) -> list[str]:
    expectation = CleanExpectation({"m": ResultsCard(benchmark="b", clean_dsc=card, worst_dsc=0)})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for figure in figures:
            expectation.add("m", figure)
            expectation.add("without a figure", 0.0)
    return [str(one.message) for one in caught]


def test_the_mean_so_far_counts_and_a_model_is_told_of_once() -> None:
    # 20 points below 85 % are 65 %.
    assert told([0.651, 0.9], 85) == []
    assert told([0.70, 0.61], 85) == []
    assert len(told([0.64, 0.1, 0.9], 85)) == 1
    found = told([0.70, 0.50], 85)
    assert len(found) == 1
    assert "clean DSC of 60.0 % over 2 cases and its card says 85.0 % (benchmark b)" in found[0]
    assert "over 1 case and" in told([0.0], 85)[0]


@pytest.mark.parametrize(("figure", "count"), [(99.0, 1), (5.0, 0)])
def test_a_run_warns_once_and_names_both_figures(tiny_zoo, tmp_path, figure, count) -> None:
    own = shutil.copytree(tiny_zoo, tmp_path / "own")
    card = own / "zoo" / "tiny" / "card.toml"
    card.write_text(card.read_text() + RESULTS.format(figure))
    request = RunRequest(card="tiny-bench", attacks=("random-sign",), device="cpu", collections=(own,))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session = run_benchmark(request, Store(tmp_path / "out"), shard=Shard(), started=lambda *_: lambda *cell: None)
    clean = [row["dsc"] for row in session.records if row["attack"] == "clean"]
    # Random weights find next to nothing.
    assert len(clean) == 2
    assert max(clean) < 0.5
    found = [str(one.message) for one in caught if "its card says" in str(one.message)]
    assert len(found) == count
    if count:
        assert f"a mean clean DSC of {100 * clean[0]:.1f} % over 1 case and its card says 99.0 %" in found[0]
