# SPDX-License-Identifier: Apache-2.0
"""A batch of training windows with what normalises them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Windows for one training step.

    Parameters
    ----------
    image : Tensor, shape (B, 1, w, w, w)
        Truncated values in the volume's unit.
    label : Tensor of uint8 or int64, shape (B, w, w, w)
        Class of each voxel; int64, as losses want it, once the batch is where it is computed.
    offset, scale : Tensor, shape (B, 1, 1, 1, 1)
        Statistics of the case of each window, in the volume's unit.
    """

    image: Tensor
    label: Tensor
    offset: Tensor
    scale: Tensor

    def normalised(self, image: Tensor) -> Tensor:
        """Return ``image`` (these windows, perhaps perturbed) as the network's input."""
        return (image - self.offset) / self.scale

    def split(self, parts: int) -> list[Batch]:
        """Return the windows in a number of parts of equal size."""
        columns = (tensor.chunk(parts) for tensor in self._tensors)
        return [Batch(*part) for part in zip(*columns, strict=True)]

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on the device that computes, with labels of int64."""
        image, label, offset, scale = (tensor.to(device, non_blocking=True) for tensor in self._tensors)
        # Not before, as labels of int64 are twice as many bytes to move as the image.
        return Batch(image, label.long(), offset, scale)

    def pinned(self) -> Batch:
        """Return the same batch in memory that a GPU copies from by itself."""
        return Batch(*(tensor.pin_memory() for tensor in self._tensors))

    @property
    def _tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.image, self.label, self.offset, self.scale
