# SPDX-License-Identifier: Apache-2.0
"""Order of work among workers: each stays with its model and case while there is something left of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Hashable, Mapping


class Queue:
    """Tasks by their groups; a worker that takes tasks of one group loads model and case once.

    Parameters
    ----------
    groups : mapping of int to hashable
        Group of each task, in the order of the work.
    """

    def __init__(self, groups: Mapping[int, Hashable]) -> None:
        self._groups = groups
        self._left: dict[Hashable, deque[int]] = {}
        self._later: list[tuple[float, int]] = []
        for task, group in groups.items():
            self._left.setdefault(group, deque()).append(task)

    def __len__(self) -> int:
        return sum(map(len, self._left.values())) + len(self._later)

    def take(self, last: int | None, others: Collection[int]) -> int | None:
        """Return the next task of a worker, or ``None`` if none is due.

        Parameters
        ----------
        last : int or None
            Its task before.
        others : collection of int
            Tasks that the other workers are at; their groups are left to them as long as there are more.
        """
        self._bring_back()
        left = [group for group, tasks in self._left.items() if tasks]
        if not left:
            return None
        own = None if last is None else self._groups[last]
        taken = {self._groups[task] for task in others}
        free = [group for group in left if group not in taken]
        if own in left:
            group = own
        elif free:
            group = free[0]
        else:
            group = max(left, key=lambda one: len(self._left[one]))
        return self._left[group].popleft()

    def put_back(self, task: int, delay: float) -> None:
        """Take a task again, at the earliest in ``delay`` seconds."""
        self._later.append((time.monotonic() + delay, task))

    def _bring_back(self) -> None:
        now = time.monotonic()
        for moment, task in [one for one in self._later if one[0] <= now]:
            self._later.remove((moment, task))
            self._left[self._groups[task]].append(task)
