# SPDX-License-Identifier: Apache-2.0
"""How many windows pass through a network at once, and what happens where that is too many for the memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from robust3d.foundation.errors import InputError
from robust3d.foundation.memory import is_out_of_memory
from robust3d.segment.cost import record_windows
from robust3d.segment.footprint import kept_bytes
from robust3d.segment.grid import Corner, Shape
from robust3d.segment.network import Predictor, device_of, window_shape

LARGEST = 16
"""Windows beyond which a batch gained nothing where it was measured."""

_CPU_BYTES = 3 * 2**29
"""Activations that a batch may keep on a CPU: a constant, since the memory that happens to be free would give another
batch, and so other rounding, from day to day."""

_T = TypeVar("_T")


@dataclass
class WindowBatch:
    """Windows a pass; halved where the memory runs out, and shared by all copies of a segmenter.

    Left open, it is measured when it is first asked for: the largest power of two up to :data:`LARGEST` whose kept
    activations fit 1.5 GiB on a CPU, and a quarter of the whole memory of a GPU. It follows from the network, the
    window and the kind of device alone, not from timing or free memory: float32 convolutions round otherwise for
    another batch, so that only a reproducible batch gives reproducible results.

    Parameters
    ----------
    size : int or None
        Windows a pass; ``None`` to measure.
    channels : int
        Of a window.
    """

    size: int | None = None
    channels: int = 1
    _graph_bytes: int | None = field(default=None, repr=False)
    _said: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise InputError(f"window_batch must be at least 1, not {self.size}")

    def known(self, network: Predictor, window: Shape) -> int:
        """Return the number of windows a pass, measured once."""
        if self.size is None:
            fitting = max(1, _allowed(device_of(network)) // self.graph_bytes(network, window))
            self.size = min(LARGEST, 1 << (fitting.bit_length() - 1))
        return self.size

    def graph_bytes(self, network: Predictor, window: Shape) -> int:
        """Return the activations that one window keeps, measured once."""
        if self._graph_bytes is None:
            self._graph_bytes = kept_bytes(network, window_shape(window, self.channels))
        return self._graph_bytes

    def map(
        self,
        network: Predictor,
        window: Shape,
        corners: Sequence[Corner],
        compute: Callable[[Sequence[Corner]], _T],
        *,
        gradient: bool,
    ) -> Iterator[tuple[Sequence[Corner], _T]]:
        """Yield batches of corners with what ``compute`` returns for each, in order.

        Where the memory runs out, the batch is halved for good, said once, and computed again; so ``compute`` must not
        change anything outside. Any other error is passed on, and so is a lack of memory for a single window.

        Parameters
        ----------
        network, window
            What is batched.
        corners : sequence of (int, int, int)
            Lowest corners of all windows.
        compute : callable
            From the corners of one batch to its result.
        gradient : bool
            Whether the windows count as differentiated.
        """
        start = 0
        while start < len(corners):
            part = corners[start : start + self.known(network, window)]
            try:
                result = compute(part)
            except (MemoryError, RuntimeError) as error:
                if len(part) == 1 or not is_out_of_memory(error):
                    raise
            else:
                record_windows(len(part), gradient=gradient)
                start += len(part)
                yield part, result
                # Otherwise it would lie beside the next batch's.
                del result
                continue
            # Outside the handler, whose traceback holds the batch's activations.
            self._halve(len(part), device_of(network))

    def _halve(self, failed: int, device: torch.device) -> None:
        self.size = failed // 2
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if not self._said:
            self._said = True
            warnings.warn(
                f"out of memory on {device} with {failed} windows a pass; going on with {self.size}, and fewer if need "
                "be (results may differ in rounding)",
                stacklevel=2,
            )


def _allowed(device: torch.device) -> int:
    """Return the bytes of activations that a batch may keep."""
    return torch.cuda.get_device_properties(device).total_memory // 4 if device.type == "cuda" else _CPU_BYTES
