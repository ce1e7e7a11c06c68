# SPDX-License-Identifier: Apache-2.0
"""Pulse: a process that works tells so; one that hangs falls silent, although its threads may still run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from robust3d.foundation.errors import InputError
from robust3d.segment.cost import Cost, counting

PATIENCE = 900.0
"""Seconds without progress after which a process counts as hung; a large window batch on one core takes tens."""

LEAST_PATIENCE = 10.0
"""Seconds below which a process that works could be taken for one that hangs."""


def check_patience(seconds: float) -> None:
    """Refuse a patience that would end processes which work.

    Raises
    ------
    InputError
        If it is less than :data:`LEAST_PATIENCE`.
    """
    if not seconds >= LEAST_PATIENCE:
        raise InputError(f"the patience with a worker must be {LEAST_PATIENCE:g} seconds or more, not {seconds:g}")


class Pulse:
    """Calls its listeners while there is progress: windows that go through a network, or a call of :meth:`moved`.

    Parameters
    ----------
    patience : float
        Seconds without progress after which it falls silent.
    every : float
        Seconds between two beats.
    """

    def __init__(self, patience: float = PATIENCE, every: float = 5.0) -> None:
        self.listeners: list[Callable[[], None]] = []
        self._patience = patience
        self._every = every
        self._last = time.monotonic()

    def moved(self) -> None:
        """Note progress."""
        self._last = time.monotonic()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Beat within the block, in a thread of its own."""
        stop = threading.Event()
        with counting() as cost:
            thread = threading.Thread(target=self._beat, args=(cost, stop), daemon=True)
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()

    def _beat(self, cost: Cost, stop: threading.Event) -> None:
        seen = 0
        while not stop.wait(self._every):
            windows = cost.forward_windows + cost.gradient_windows
            if windows != seen:
                seen = windows
                self.moved()
            if time.monotonic() - self._last < self._patience:
                for listener in self.listeners:
                    listener()
