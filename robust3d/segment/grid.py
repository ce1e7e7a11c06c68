# SPDX-License-Identifier: Apache-2.0
"""Where sliding windows start along an axis; one function serves prediction and gradients."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import Literal

from robust3d.foundation.errors import InputError

Corner = tuple[int, int, int]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Grid:
    """A rule for window starts; made by :func:`seed`, :func:`overlap` or :func:`step`.

    Parameters
    ----------
    kind : str
        ``"seed"``, ``"overlap"`` or ``"step"``.
    value : float
        n of ``seed``, or a fraction of the window.
    """

    kind: Literal["seed", "overlap", "step"]
    value: float

    def starts(self, length: int, window: int) -> list[int]:
        """Return the ascending starts along an axis of ``length`` voxels, which is at least ``window``."""
        if length == window:
            return [0]
        rule = {"seed": _seed_starts, "overlap": _overlap_starts, "step": _step_starts}[self.kind]
        return rule(length, window, self.value)

    def corners(self, shape: Shape, window: Shape) -> list[Corner]:
        """Return the lowest corner of every window in a volume of ``shape``, in a fixed order."""
        axes = [self.starts(length, size) for length, size in zip(shape, window, strict=True)]
        return [(first, second, third) for first, second, third in itertools.product(*axes)]

    def __str__(self) -> str:
        return f"{self.kind}({self.value:g})"


def seed(n: int) -> Grid:
    """Return the chapter's grid: floor(L / w) + n windows an axis, as the group's released code places them.

    Starts are 0, s, 2 s, ... with s = ceil((L - w) / (fold - 1)), and L - w; L = 512, w = 64, n = 6 gives 14.
    """
    if not (isinstance(n, int) and n >= 1):
        raise InputError(f"seed(n) needs a whole number n of at least 1, not {n!r}")
    return Grid("seed", float(n))


def overlap(fraction: float) -> Grid:
    """Return MONAI's grid: fixed stride int(w (1 - fraction)), the last window shifted back to the edge."""
    if not 0 <= fraction < 1:
        raise InputError(f"overlap must be at least 0 and below 1 of the window, not {fraction}")
    return Grid("overlap", float(fraction))


def step(fraction: float) -> Grid:
    """Return nnU-Net's grid: evenly spread windows with steps of at most ``fraction`` of the window."""
    if not 0 < fraction <= 1:
        raise InputError(f"step must be above 0 and at most 1 of the window, not {fraction}")
    return Grid("step", float(fraction))


def parse_grid(text: str) -> Grid:
    """Return the grid written as ``seed(6)``, ``overlap(0.5)`` or ``step(0.5)``, the notation of cards.

    Raises
    ------
    InputError
        If the text is none of these.
    """
    match = re.fullmatch(r"\s*(seed|overlap|step)\(\s*([0-9.]+)\s*\)\s*", text)
    if match is None:
        raise InputError(f"grid {text!r} is none of seed(n), overlap(fraction) and step(fraction), such as 'seed(6)'")
    kind, value = match.groups()
    try:
        number = float(value)
    except ValueError as error:
        raise InputError(f"grid {text!r} holds {value!r}, which is no number") from error
    if kind == "seed":
        return seed(int(number) if number.is_integer() else 0)
    return overlap(number) if kind == "overlap" else step(number)


def _seed_starts(length: int, window: int, n: float) -> list[int]:
    fold = length // window + int(n)
    stride = math.ceil((length - window) / max(1, fold - 1))
    return sorted({*range(0, length - window + 1, stride), length - window})


def _overlap_starts(length: int, window: int, fraction: float) -> list[int]:
    stride = max(1, int(window * (1 - fraction)))
    return sorted({min(start, length - window) for start in range(0, length - window + stride, stride)})


def _step_starts(length: int, window: int, fraction: float) -> list[int]:
    count = math.ceil((length - window) / (window * fraction)) + 1
    spread = (length - window) / (count - 1)
    return sorted({round(spread * index) for index in range(count)})
