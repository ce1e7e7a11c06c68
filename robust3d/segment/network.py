# SPDX-License-Identifier: Apache-2.0
"""The network as the pipeline calls it: eval mode, frozen, checked output, and left as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robust3d.foundation.digest import digest_tensors
from robust3d.foundation.errors import InputError

Predictor = Callable[[Tensor], Tensor]
"""Maps normalised windows ``(B, C, d, h, w)`` to logits ``(B, K, d, h, w)``; an ``nn.Module`` or any callable."""


def window_shape(window: Sequence[int], channels: int) -> tuple[int, ...]:
    """Return the shape of a window in a volume: its edges, after the number of channels if they are several."""
    return tuple(window) if channels == 1 else (channels, *window)


def device_of(network: Predictor) -> torch.device:
    """Return the device of a module's first parameter; the CPU for other callables."""
    parameter = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device


def dtype_of(network: Predictor, default: torch.dtype) -> torch.dtype:
    """Return the dtype of a module's first parameter; ``default`` for other callables."""
    parameter = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    return default if parameter is None else parameter.dtype


def digest_network(network: Predictor) -> str:
    """Return the SHA-256 of a module's parameters and buffers.

    Raises
    ------
    InputError
        For other callables, whose parameters cannot be seen.
    """
    if not isinstance(network, nn.Module):
        raise InputError("a network that is no nn.Module cannot be hashed; give its weights' SHA-256 as weights_sha256")
    return digest_tensors(network.state_dict())


def check_stride(network: Predictor, window: Sequence[int]) -> None:
    """Refuse a window that a network with a ``stride`` attribute cannot halve down and build up again.

    Raises
    ------
    InputError
        If an edge is not a multiple of the stride.
    """
    stride = getattr(network, "stride", 1)
    if isinstance(stride, int) and any(edge % stride for edge in window):
        raise InputError(f"window {tuple(window)} does not fit the network: each edge must be a multiple of {stride}")


@contextmanager
def evaluating(network: Predictor) -> Iterator[None]:
    """Put a module into eval mode with frozen parameters, and restore it, also when the block raises."""
    if not isinstance(network, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in network.modules()]
    frozen = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        network.eval()
        for parameter, _ in frozen:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires in frozen:
            parameter.requires_grad_(requires)


def count_classes(network: Predictor, window: Sequence[int], channels: int) -> int:
    """Return the number of logits of a voxel, from a window of zeros."""
    probe = torch.zeros((1, *window_shape(window, channels)), device=device_of(network))
    with evaluating(network), torch.no_grad():
        return window_logits(network, probe, dtype=probe.dtype).shape[1]


def window_logits(network: Predictor, windows: Tensor, *, dtype: torch.dtype) -> Tensor:
    """Return logits ``(B, K, d, h, w)`` of windows ``(B, d, h, w)`` or ``(B, C, d, h, w)`` in ``dtype``.

    Raises
    ------
    InputError
        If the output has another batch or spatial size, fewer than two classes, or is not finite.
    """
    if windows.ndim == 4:
        # Channels last without doubt: a stride of 1 for the single channel tells the first convolution to keep that
        # layout.
        inputs = windows.contiguous().unsqueeze(-1).movedim(-1, 1)
    else:
        inputs = windows.contiguous(memory_format=torch.channels_last_3d)
    logits = network(inputs.to(dtype_of(network, dtype)))
    if not isinstance(logits, Tensor):
        raise InputError(f"the network returned {type(logits).__name__}; it must return one tensor of logits")
    expected = (inputs.shape[0], *inputs.shape[2:])
    if logits.ndim != 5 or (logits.shape[0], *logits.shape[2:]) != expected or logits.shape[1] < 2:
        raise InputError(
            f"the network returned shape {tuple(logits.shape)} for windows of shape {tuple(inputs.shape)}; "
            "it must return logits (B, K, d, h, w) with K >= 2 classes"
        )
    if not bool(torch.isfinite(logits.detach()).all()):
        raise InputError("the network returned NaN or infinite logits; check its weights and the unit of the volume")
    return logits.to(dtype)
