# SPDX-License-Identifier: Apache-2.0
"""Cost accounting: windows that went through a network, so that attacks compare at equal compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Cost:
    """Windows computed within a ``with counting()`` block.

    Parameters
    ----------
    forward_windows : int
        Windows predicted without a gradient.
    gradient_windows : int
        Windows predicted and differentiated with respect to their input.
    """

    forward_windows: int = 0
    gradient_windows: int = 0


_ACTIVE: ContextVar[tuple[Cost, ...]] = ContextVar("robust3d_cost", default=())


@contextmanager
def counting() -> Iterator[Cost]:
    """Count every window computed in the block; blocks may be nested, each with its own count."""
    cost = Cost()
    token = _ACTIVE.set((*_ACTIVE.get(), cost))
    try:
        yield cost
    finally:
        _ACTIVE.reset(token)


def record_windows(number: int, *, gradient: bool) -> None:
    """Add ``number`` windows to every open count."""
    for cost in _ACTIVE.get():
        if gradient:
            cost.gradient_windows += number
        else:
            cost.forward_windows += number


def add_cost(spent: Cost) -> None:
    """Add windows of both kinds to every open count."""
    record_windows(spent.forward_windows, gradient=False)
    record_windows(spent.gradient_windows, gradient=True)
