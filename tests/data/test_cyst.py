# SPDX-License-Identifier: Apache-2.0
"""The pathological variant of the phantoms, asked for by cards of training and of benchmarks."""

import numpy as np
import pytest

from robust3d.benchmarks.card import read_benchmark_card
from robust3d.data.phantom import generate_phantom
from robust3d.defenses.cases import training_cases
from robust3d.defenses.recipe import Recipe
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections

COLLECTIONS = Collections.open()


def test_cards_that_say_so_get_phantoms_with_a_cyst() -> None:
    recipe = read_card(COLLECTIONS.find("defenses", "short-cyst"), Recipe)
    parts = training_cases(recipe, None, None, COLLECTIONS)
    test = read_benchmark_card("table3", COLLECTIONS).dataset(None, COLLECTIONS)
    for dataset, seed in ((parts.training, 0), (parts.validation, 1_000_000), (test, 2_000_000)):
        case = dataset.load(dataset.names[0])
        np.testing.assert_array_equal(case.label, generate_phantom(seed, cyst=True).label)
        assert set(np.unique(case.label)) == {0, 1, 2}


@pytest.mark.parametrize("name", ["table2", "table4"])
def test_others_get_those_without(name) -> None:
    dataset = read_benchmark_card(name, COLLECTIONS).dataset(None, COLLECTIONS)
    assert set(np.unique(dataset.load(dataset.names[0]).label)) == {0, 1}
