# SPDX-License-Identifier: Apache-2.0
"""Graphs of the first pass of an exact gradient that the second need not compute again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from robust3d.foundation.memory import is_out_of_memory
from robust3d.networks.lean import lean_graphs
from robust3d.segment.footprint import counted_graph
from robust3d.segment.grid import Corner
from robust3d.segment.network import Predictor

SHARE = 2
"""Kept graphs may take one part in so many of the activations of one batch."""


@dataclass(frozen=True)
class Graph:
    """What leads from the output of a window batch back to its windows.

    Parameters
    ----------
    windows, output : GradientEdge
        Ends of the graph; the values at them are not held.
    values : Tensor or None
        Output ``(B, K, ...)``, if the cotangent depends on it.
    held : int
        Bytes that all this keeps in memory.
    """

    windows: GradientEdge
    output: GradientEdge
    values: Tensor | None
    held: int

    def pull_back(self, cotangent: Tensor) -> Tensor:
        """Return the vector-Jacobian product, shape of the windows; the graph is used up."""
        (gradient,) = torch.autograd.grad([self.output], [self.windows], cotangent)
        return gradient


def record(
    network: Predictor, windows: Tensor, forward: Callable[[Tensor], Tensor], *, values: bool
) -> tuple[Tensor, Graph | None]:
    """Return the output of ``forward``, and the graph that leads to it; ``None`` where there is none.

    Parameters
    ----------
    network : callable
        Whose weights do not count as kept.
    windows : Tensor, shape (B, d, h, w)
        Where it is computed.
    forward : callable
        From windows to output.
    values : bool
        Whether the graph holds the output as well.
    """
    with lean_graphs(), counted_graph(network) as held:
        # A sum, since a leaf would hold its values.
        inputs = windows + windows.new_zeros(()).requires_grad_(True)
        output = forward(inputs)
    if not output.requires_grad:
        return output, None
    found = output.detach()
    if values:
        held[found.untyped_storage().data_ptr()] = found.untyped_storage().nbytes()
    ends = get_gradient_edge(inputs), get_gradient_edge(output)
    return found, Graph(*ends, found if values else None, sum(held.values()))


class KeptGraphs:
    """Graphs of the first window batches of a pass, as many as fit a memory that no volume makes larger.

    Parameters
    ----------
    allowed : int
        Bytes for all of them.
    """

    def __init__(self, allowed: int) -> None:
        self._left = allowed
        self._kept: deque[tuple[Sequence[Corner], Graph]] = deque()

    @property
    def open(self) -> bool:
        """Whether there may be room for another."""
        return self._left > 0

    def keep(self, corners: Sequence[Corner], graph: Graph | None) -> None:
        """Keep the graph of a batch; if there is none or no room for it, nothing more is kept."""
        if graph is None or graph.held > self._left:
            self._left = 0
        else:
            self._left -= graph.held
            self._kept.append((corners, graph))

    def pull_back(
        self, cotangent: Callable[[Sequence[Corner], Tensor | None], Tensor]
    ) -> Iterator[tuple[Sequence[Corner], Tensor]]:
        """Yield corners and gradient of every batch in order, and let go of each; end early where memory runs out.

        ``cotangent`` takes the corners of a batch and the values that its graph holds.
        """
        while self._kept:
            corners, graph = self._kept.popleft()
            try:
                gradient = graph.pull_back(cotangent(corners, graph.values))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._kept.clear()
                return
            yield corners, gradient
