# SPDX-License-Identifier: Apache-2.0
"""Cards of a kind made here, and digests of tensors."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import pytest
import torch
from pydantic import Field

from robust3d.foundation.cards import Card, check_card, read_card
from robust3d.foundation.digest import digest_arrays, digest_tensors, mix_seed
from robust3d.foundation.errors import InputError


class Circle(Card):
    shape: Literal["circle"]
    radius: float


class Square(Card):
    shape: Literal["square"]
    edge: float


class Drawing(Card):
    title: str
    figure: Annotated[Circle | Square, Field(discriminator="shape")]


RIGHT = """
title = "one"
[figure]
shape = "square"
edge = 2
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("edge", "egde", "unknown key 'figure.egde'; did you mean 'edge'?"),
        ("edge", "radius", "unknown key 'figure.radius'; "),
        ("title", "titel", "unknown key 'titel'; did you mean 'title'?"),
        ('title = "one"', "", "key 'title' is missing"),
        ("edge = 2", "", "key 'figure.edge' is missing"),
        ('shape = "square"', "", "key 'figure.shape' is missing"),
        ('"square"', '"sqare"', "key 'figure.shape': unknown 'sqare'; did you mean 'square'?"),
        ("2", '"wide"', "key 'figure.edge': "),
        ("2", "2 2", "is not valid TOML: "),
    ],
)
def test_mistakes_are_sentences(tmp_path, old, new, message) -> None:
    path = tmp_path / "drawing.toml"
    path.write_text(RIGHT)
    assert read_card(path, Drawing).figure == Square(shape="square", edge=2.0)
    path.write_text(RIGHT.replace(old, new))
    with pytest.raises(InputError) as caught:
        read_card(path, Drawing)
    assert str(caught.value).startswith(f"card {path}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.toml", ".", "latin.toml"])
def test_cards_that_cannot_be_read(tmp_path, name) -> None:
    (tmp_path / "latin.toml").write_bytes('title = "é"'.encode("latin-1"))
    with pytest.raises(InputError, match="cannot read card"):
        read_card(tmp_path / name, Drawing)


@pytest.mark.parametrize("other", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
def test_tensors_of_another_type_are_other_weights(other) -> None:
    weights = torch.arange(6.0).reshape(2, 3)
    assert digest_tensors({"a": weights}) != digest_tensors({"a": weights.to(other)})


def test_digest_sees_shape_layout_free_and_every_bit() -> None:
    weights = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
    same = digest_tensors({"a": weights})
    assert digest_tensors({"a": weights.T.contiguous().T}) == same
    assert digest_tensors({"a": weights.reshape(3, 2)}) != same
    assert digest_tensors({"b": weights}) != same
    assert digest_tensors({"a": weights + 1e-12}) != same
    assert digest_tensors({"a": torch.tensor(1)}) != digest_tensors({"a": torch.tensor([1])})


def test_order_of_arrays_and_of_seeds_counts() -> None:
    one, two = torch.zeros(2).numpy(), torch.ones(2).numpy()
    assert digest_arrays(one, two) != digest_arrays(two, one)
    seeds = {mix_seed(seed, case) for seed in range(30) for case in range(30)}
    assert len(seeds) == 900
    assert max(seeds) < 2**60


class Kinds(Card):
    whole: int = 1
    real: float = 1.0
    maybe: float | None = None
    switch: bool = True
    text: str = ""
    choice: Literal["one", "two"] = "one"
    file: Path = Path()
    pair: tuple[int, float] = (1, 1.0)
    nested: tuple[tuple[int, ...], ...] = ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("whole = 5", 5),
        ("real = 10", 10.0),
        ("real = inf", float("inf")),
        ("maybe = 10", 10.0),
        ("switch = false", False),
        ('choice = "two"', "two"),
        ('file = "a/b"', Path("a/b")),
        ("pair = [3, 4]", (3, 4.0)),
        ("nested = [[1, 2], [], [3]]", ((1, 2), (), (3,))),
    ],
)
def test_arrays_serve_for_tuples_and_whole_numbers_for_real_ones(line, expected) -> None:
    key = line.split()[0]
    found = getattr(check_card(tomllib.loads(line), Kinds, where="test"), key)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('whole = "5"', "'5'"),
        ("whole = true", "True"),
        ("whole = 5.0", "5.0"),
        ('real = "3"', "'3'"),
        ("real = true", "True"),
        ("maybe = false", "False"),
        ("switch = 1", "1"),
        ('switch = "yes"', "'yes'"),
        ("text = 3", "3"),
        ("choice = 1", "1"),
        ("file = 3", "3"),
        ('pair = ["3", 4]', "'3'"),
        ("nested = [[true]]", "True"),
        ("whole = 2020-10-16", "datetime.date(2020, 10, 16) is of type date"),
    ],
)
def test_a_value_of_another_kind_is_not_converted(line, found) -> None:
    with pytest.raises(InputError) as caught:
        check_card(tomllib.loads(line), Kinds, where="card test.toml")
    assert str(caught.value).startswith("card test.toml: ")
    assert found in str(caught.value)
