# SPDX-License-Identifier: Apache-2.0
"""What processes that train together exchange, so that they take the step that one process would take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import distributed, nn

from robust3d.foundation.errors import InputError

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, one a device; alone by default, when nothing is exchanged.

    Parameters
    ----------
    rank : int
        Which of them this is, from 0.
    count : int
        How many there are.
    device : torch.device
        Where this one computes.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = _CPU

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def windows(self, batch: int, parts: int) -> list[int]:
        """Return which windows of a batch are this process's: an equal run of each part in which it is accumulated.

        Raises
        ------
        InputError
            If they cannot be shared equally.
        """
        each, rest = divmod(batch, parts * self.count)
        if rest:
            raise InputError(
                f"a batch of {batch} windows in {parts} part{'s' if parts > 1 else ''} cannot be shared equally by "
                f"{self.count} processes; start a number of processes that divides {batch // parts}"
            )
        return [(part * self.count + self.rank) * each + k for part in range(parts) for k in range(each)]

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all processes; those of whole numbers are exact."""
        if self.count == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor)
        return tensor.tolist()

    def average_gradients(self, network: nn.Module) -> None:
        """Replace the gradients of the weights by their means over all processes."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        # In one message; the backward pass before it is short beside the attack, so that nothing is gained by overlap.
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def once(self, action: Callable[[], object]) -> None:
        """Let the first process do something while the others wait; if it fails, all fail with its sentence."""
        if self.count == 1:
            action()
            return
        failure: list[str | None] = [None]
        if self.first:
            try:
                action()
            except InputError as error:
                failure = [str(error)]
        distributed.broadcast_object_list(failure, device=self.device)
        if failure[0] is not None:
            raise InputError(failure[0])

    def agree(self, about: str, state: object) -> None:
        """Refuse to go on if the processes differ in a state.

        Raises
        ------
        InputError
            In all of them, with the values of two that differ.
        """
        if self.count == 1:
            return
        states: list[object] = [None] * self.count
        distributed.all_gather_object(states, state)
        for rank, other in enumerate(states):
            if other != states[0]:
                raise InputError(
                    f"process {rank} has another {about} than process 0 ({other} and {states[0]}); all must see the "
                    "same --out and --data"
                )


ALONE = Processes()
"""One process, which exchanges nothing."""
