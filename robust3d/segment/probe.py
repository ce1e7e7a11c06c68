# SPDX-License-Identifier: Apache-2.0
"""A short measurement of how fast and how large a segmenter's windows are on this device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from robust3d.segment.footprint import kept_bytes
from robust3d.segment.network import Predictor, evaluating, window_logits, window_shape
from robust3d.segment.segmenter import Segmenter

_MOST_PASSES = 5


@dataclass(frozen=True)
class Speed:
    """What one window takes.

    Parameters
    ----------
    forward, gradient : float
        Seconds through the network, and through it and back.
    batch_bytes : int
        Activations that one batch keeps.
    """

    forward: float
    gradient: float
    batch_bytes: int


def probe(segmenter: Segmenter, seconds: float) -> Speed:
    """Time whole batches of noise for about ``seconds``, at least one of each kind after a first, untimed window."""
    size = segmenter.batch.known(segmenter.network, segmenter.window)
    window = window_shape(segmenter.window, segmenter.channels)
    noise = torch.randn((size, *window), generator=torch.Generator().manual_seed(0)).to(segmenter.device)

    def forward(number: int) -> None:
        with torch.no_grad():
            window_logits(segmenter.network, noise[:number], dtype=noise.dtype)

    def gradient(number: int) -> None:
        windows = noise[:number].clone().requires_grad_(True)
        logits = window_logits(segmenter.differentiated, windows, dtype=noise.dtype)
        torch.autograd.grad(logits[:, 1:].mean(), windows)

    device = segmenter.device
    return Speed(
        forward=_timed(segmenter.network, device, forward, size, seconds / 3),
        gradient=_timed(segmenter.differentiated, device, gradient, size, 2 * seconds / 3),
        batch_bytes=size * kept_bytes(segmenter.differentiated, window),
    )


def _timed(network: Predictor, device: torch.device, work: Callable[[int], None], size: int, seconds: float) -> float:
    """Return the shortest time a window: what disturbs a measurement only adds to it."""
    with evaluating(network):
        work(1)
        times: list[float] = []
        began = time.perf_counter()
        while not times or (time.perf_counter() - began < seconds and len(times) < _MOST_PASSES):
            start = time.perf_counter()
            work(size)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
    return min(times) / size
