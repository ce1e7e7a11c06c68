# SPDX-License-Identifier: Apache-2.0
"""How much windows keep in memory until their backward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from robust3d.foundation.memory import is_out_of_memory
from robust3d.segment.network import Predictor, device_of, evaluating, window_logits

_UNSEEN = 64
"""Activations of a callable that cannot be looked into, in multiples of its input."""


def kept_bytes(network: Predictor, window: Sequence[int]) -> int:
    """Return the bytes that the forward pass of one window keeps for the backward pass, parameters not counted.

    ``window`` is its shape, channels first if they are several. Counted on the window itself, by autograd's account;
    the same on every device. A network without a gradient, or one that is no module, is taken to keep 64 times its
    input.
    """
    windows = torch.zeros((1, *window), device=device_of(network))
    least = _UNSEEN * windows.nbytes
    if not isinstance(network, nn.Module):
        return least
    try:
        with evaluating(network), counted_graph(network) as kept:
            # Held to the end, so that no storage takes the place of an earlier one.
            logits = window_logits(network, windows.requires_grad_(True), dtype=windows.dtype)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        # For example a module that leaves torch: it predicts, but has no gradient.
        return least
    return max(sum(kept.values()), logits.nbytes)


@contextmanager
def counted_graph(network: Predictor) -> Iterator[dict[int, int]]:
    """Record a graph in the block; yield the bytes that it keeps by storage, those of the network's state left out."""
    state = (*network.parameters(), *network.buffers()) if isinstance(network, nn.Module) else ()
    own = {tensor.untyped_storage().data_ptr() for tensor in state}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        # Not the tensor itself: a layer that keeps its own output would hold itself for ever.
        return tensor.detach()

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept
