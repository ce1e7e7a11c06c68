# SPDX-License-Identifier: Apache-2.0
"""Folds hold every case once, with the published sizes; splits are written down and checked."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robust3d.data.splits import Split, find_split, fold_sizes, read_split, split_by_fold, write_split
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError

CYST = (33, 33, 32, 33)
"""Sizes of the folds of the chapter's third dataset (arXiv:2010.16074, Section 4.2)."""


@pytest.mark.parametrize(("cases", "sizes"), [(82, (21, 21, 20, 20)), (305, (77, 76, 76, 76))])
def test_sizes_are_those_of_the_chapter(cases, sizes) -> None:
    assert fold_sizes(cases, 4) == sizes
    assert sum(CYST) == 131


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 60), st.integers(2, 4), st.integers(0, 5), st.integers(0, 1))
def test_folds_partition_the_cases(cases, folds, seed, validation) -> None:
    names = [f"c{index:02d}" for index in range(cases)]
    sizes = fold_sizes(cases, folds)
    splits = [split_by_fold(names, one, sizes, seed=seed, validation=validation) for one in range(1, folds + 1)]
    assert sorted(name for split in splits for name in split.test) == names
    assert tuple(len(split.test) for split in splits) == sizes
    for split in splits:
        assert sorted((*split.train, *split.validation, *split.test)) == names
        assert len(split.validation) == validation
    backwards = [
        split_by_fold(names[::-1], one, sizes, seed=seed, validation=validation) for one in range(1, folds + 1)
    ]
    assert [split.sha256 for split in backwards] == [split.sha256 for split in splits]


def test_a_seed_gives_these_folds_on_any_machine() -> None:
    names = [f"c{index}" for index in range(6)]
    tests = [split_by_fold(names, fold, (2, 2, 2), seed=0, validation=1).test for fold in (1, 2, 3)]
    # Written down from NumPy 2.4; another order would change every published fold.
    assert tests == [("c2", "c3"), ("c4", "c5"), ("c0", "c1")]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fold_sizes(3, 4), "3 cases cannot make 4 folds"),
        (lambda: fold_sizes(3, 1), "at least 2 folds, not 1"),
        (lambda: split_by_fold("abcd", 5, (1, 1, 1, 1), seed=0, validation=1), "fold 5 is out of range"),
        (lambda: split_by_fold("abcd", 0, (1, 1, 1, 1), seed=0, validation=1), "fold 0 is out of range"),
        (lambda: split_by_fold("abcd", 1, CYST, seed=0, validation=1), "33, 33, 32, 33 cases need 131 and there are 4"),
        (lambda: split_by_fold("abcd", 1, (2, 2), seed=0, validation=2), "leaves 2; 2 to validate"),
    ],
)
def test_impossible_folds_are_refused(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_a_split_is_read_back_and_a_wrong_one_refused(tmp_path) -> None:
    split = Split(name="s", train=("a", "b"), validation=("c",), test=("d",))
    write_split(split, tmp_path / "s.json")
    assert read_split(tmp_path / "s.json") == split
    assert split.sha256 == Split(name="t", notes="n", train=("b", "a"), validation=("c",), test=("d",)).sha256
    assert split.sha256 != Split(name="s", train=("a", "c"), validation=("b",), test=("d",)).sha256
    for text, message in (
        ('{"name": "s", "train": ["a"], "test": ["a"]}', "case 'a' is in the split twice"),
        ('{"name": "s", "train": ["a"], "tset": ["b"]}', "unknown key 'tset'; did you mean 'test'"),
        ("[1]", "holds a list"),
        ("{", "not valid JSON"),
    ):
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_split(tmp_path / "s.json")


def test_a_split_that_cards_name_tests_a_case(tmp_path) -> None:
    path = tmp_path / "benchmarks" / "splits" / "s.json"
    path.parent.mkdir(parents=True)
    write_split(Split(name="s", train=("a",), validation=("b",), test=()), path)
    assert read_split(path).test == ()
    with pytest.raises(InputError, match="names no case under test"):
        find_split("s", Collections.open([tmp_path]))


def test_bundled_splits_are_right() -> None:
    collections = Collections.open()
    for path in (Path(__file__).parents[2] / "benchmarks" / "splits").glob("*.json"):
        split = find_split(path.stem, collections)
        assert split.name == path.stem
        assert list(split.test) == sorted(split.test)
    with pytest.raises(InputError, match="did you mean 'hippocampus'"):
        find_split("hipocampus", collections)
