# SPDX-License-Identifier: Apache-2.0
"""Shards: the plan of a benchmark cut into runs of neighbouring cells, whose numbers differ by at most one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from robust3d.foundation.errors import InputError


@dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count``, counted from 1.

    Neighbours in a plan share model and case, so that each shard reads few volumes.
    """

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shard that ``i/n`` means.

        Raises
        ------
        InputError
            If it is not two whole numbers with 1 <= i <= n.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        index, count = (int(part) for part in found.groups()) if found else (0, 0)
        if not 1 <= index <= count:
            raise InputError(f"shard {text!r} is not i/n with whole numbers from 1/n to n/n, such as 1/4")
        return cls(index, count)

    def places(self, size: int) -> range:
        """Return the places in a plan of ``size`` cells that belong to this shard.

        Raises
        ------
        InputError
            If there are more shards than cells.
        """
        if self.count > size:
            raise InputError(f"{self.count} shards are more than the {size} cells of the benchmark; use at most {size}")
        return range((self.index - 1) * size // self.count, self.index * size // self.count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
