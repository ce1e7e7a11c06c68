# SPDX-License-Identifier: Apache-2.0
"""Where the volumes of a computation live, and how their windows reach the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.foundation.errors import InputError
from robust3d.segment.grid import Corner, Shape
from robust3d.segment.windows import WindowPlan
from robust3d.volume.channels import count_channels, spatial_shape


def buffer_bytes(shape: Shape, classes: int, channels: int = 1) -> int:
    """Return what the float32 volumes of an exact gradient take at most, its loss included."""
    return 4 * math.prod(shape) * (7 * channels + 5 * classes)


def home_of_volumes(device: torch.device, shape: Shape, classes: int, channels: int = 1) -> torch.device:
    """Return where the volumes of a computation live: beside the network if they take a third of a GPU, else the host.

    Decided by the whole memory of the GPU, not by what is free, so that it is the same in every run.
    """
    if device.type != "cuda":
        return device
    total = torch.cuda.get_device_properties(device).total_memory
    return device if buffer_bytes(shape, classes, channels) <= total // 3 else torch.device("cpu")


def volume_tensor(image: NDArray[Any] | Tensor, device: torch.device, classes: int, channels: int) -> Tensor:
    """Return a raw volume as a tensor where its computation lives; float32 unless it is float64.

    Raises
    ------
    InputError
        If it has neither three axes nor channels before them, or other channels than the model takes.
    """
    tensor = image if isinstance(image, Tensor) else torch.from_numpy(np.ascontiguousarray(image))
    shape = spatial_shape(tensor)
    check_channels(count_channels(tensor), channels)
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    return tensor.detach().to(home_of_volumes(device, shape, classes, channels), dtype)


def check_channels(given: int, wanted: int, where: str = "the volume") -> None:
    """Refuse volumes of another number of channels than a model takes.

    Raises
    ------
    InputError
        Names both.
    """
    if given != wanted:
        raise InputError(
            f"the model takes {wanted} channel{'s' if wanted > 1 else ''} and {where} has {given}; give it "
            "the channels that it was trained with, in their order"
        )


class Supply:
    """Windows of a volume, on the network's device; loaded one batch ahead where the volume lives elsewhere.

    A thread gathers the next batch into pinned memory and copies it on a stream of its own, while the network works on
    this one. A context manager, for the thread.

    Parameters
    ----------
    plan : WindowPlan
        Windows, taken in its order.
    volume : Tensor, padded shape
        Where they are cut out.
    device : torch.device
        Of the network.
    ahead : bool, optional
        Whether to load ahead; by default where ``volume`` is not on ``device``.
    """

    def __init__(self, plan: WindowPlan, volume: Tensor, device: torch.device, *, ahead: bool | None = None) -> None:
        self._plan = plan
        self._volume = volume
        self._device = device
        self._ahead = volume.device != device if ahead is None else ahead
        self._threads = ThreadPoolExecutor(1) if self._ahead else None
        self._stream = torch.cuda.Stream(device) if self._ahead and device.type == "cuda" else None
        self._next: tuple[Sequence[Corner], Future[Tensor]] | None = None
        self._place = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def take(self, corners: Sequence[Corner]) -> Tensor:
        """Return windows ``(B, d, h, w)``, and start to load as many after them."""
        if self._threads is None:
            return self._plan.gather(self._volume, corners)
        loaded, self._next = self._next, None
        windows = loaded[1].result() if loaded is not None and loaded[0] == corners else self._load(corners)
        if self._stream is not None:
            windows.record_stream(torch.cuda.current_stream(self._device))
        if corners[0] != self._plan.corners[self._place]:
            self._place = self._plan.corners.index(corners[0])
        after = self._place + len(corners)
        following = self._plan.corners[after : after + len(corners)]
        if following:
            self._place = after
            self._next = following, self._threads.submit(self._load, following)
        return windows

    def _load(self, corners: Sequence[Corner]) -> Tensor:
        gathered = self._plan.gather(self._volume, corners)
        if self._stream is None:
            return gathered.to(self._device)
        with torch.cuda.stream(self._stream):
            windows = gathered.pin_memory().to(self._device, non_blocking=True)
            self._stream.synchronize()
        return windows
