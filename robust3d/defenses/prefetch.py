# SPDX-License-Identifier: Apache-2.0
"""The windows of the next step are drawn while this one is computed, so that no device waits for them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from robust3d.defenses.batch import Batch


class Prefetch:
    """Batches by step, one step ahead in a thread of its own.

    A batch follows from its step alone, so the order of drawing changes nothing.

    Parameters
    ----------
    draw : callable
        Gives the batch of a step, in host memory.
    steps : int
        How many there are; nothing is drawn beyond.
    device : torch.device
        Where batches are wanted.
    """

    def __init__(self, draw: Callable[[int], Batch], steps: int, device: torch.device) -> None:
        self._draw = draw
        self._steps = steps
        self._device = device
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="windows")
        self._next: tuple[int, Future[Batch]] | None = None

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step, on the device, and begin to draw that of the one after it."""
        ahead, self._next = self._next, None
        batch = ahead[1].result() if ahead is not None and ahead[0] == step else self._prepare(step)
        if step + 1 < self._steps:
            self._next = step + 1, self._thread.submit(self._prepare, step + 1)
        return batch.to(self._device)

    def _prepare(self, step: int) -> Batch:
        batch = self._draw(step)
        # From pinned memory a copy to the device runs beside what the device computes.
        return batch.pinned() if self._device.type == "cuda" else batch
