# SPDX-License-Identifier: Apache-2.0
"""Batches drawn ahead are those of their steps, in any order, and none is drawn beyond the last."""

import threading

import pytest
import torch

from robust3d.defenses.batch import Batch
from robust3d.defenses.prefetch import Prefetch


def numbered(step: int) -> Batch:
    one = torch.full((1, 1, 1, 1, 1), float(step))
    return Batch(image=one, label=one[:, 0].long(), offset=one, scale=one)


def test_each_step_gets_its_batch_whatever_was_drawn_ahead() -> None:
    batches = Prefetch(numbered, 10, torch.device("cpu"))
    asked = [0, 1, 2, 7, 3, 3, 9]
    assert [int(batches(step).image) for step in asked] == asked


def test_the_next_batch_is_drawn_by_another_thread_and_none_after_the_last() -> None:
    drawn: list[tuple[int, bool]] = []
    ready = threading.Event()

    def draw(step: int) -> Batch:
        drawn.append((step, threading.current_thread() is threading.main_thread()))
        if step == 1:
            ready.set()
        return numbered(step)

    batches = Prefetch(draw, 2, torch.device("cpu"))
    batches(0)
    assert ready.wait(10)
    batches(1)
    assert drawn == [(0, True), (1, False)]


def test_what_fails_ahead_is_raised_in_its_step() -> None:
    def draw(step: int) -> Batch:
        if step == 1:
            raise MemoryError("no room")
        return numbered(step)

    batches = Prefetch(draw, 5, torch.device("cpu"))
    batches(0)
    with pytest.raises(MemoryError, match="no room"):
        batches(1)
