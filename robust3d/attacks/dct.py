# SPDX-License-Identifier: Apache-2.0
"""Orthonormal 3D cosine transform of the blocks of a volume."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad


def cosine_matrix(length: int) -> Tensor:
    """Return the orthonormal DCT-II as a float64 matrix ``(length, length)``; its transpose is its inverse."""
    order = torch.arange(length, dtype=torch.float64)
    matrix = math.sqrt(2 / length) * torch.cos(math.pi / length * torch.outer(order, order + 0.5))
    matrix[0] /= math.sqrt(2)
    return matrix


class BlockTransform:
    """Cosine transform of a volume in blocks, as three matrix products a block.

    Parameters
    ----------
    shape : tuple of int
        Of the volume; an axis that is no multiple of ``edge`` is padded at its end with its last voxel.
    edge : int
        Edge of a block in voxels.
    """

    def __init__(self, shape: tuple[int, ...], edge: int) -> None:
        self.shape = tuple(shape)
        self.edge = edge
        self.blocks = tuple(-(-length // edge) for length in shape)
        self._matrix = cosine_matrix(edge)

    def forward(self, volume: Tensor) -> Tensor:
        """Return the coefficients ``(blocks, edge, edge, edge)`` of a volume."""
        padded = volume
        for axis, (length, count) in enumerate(zip(self.shape, self.blocks, strict=True)):
            places = torch.arange(count * self.edge, device=volume.device).clamp_max(length - 1)
            padded = padded.index_select(axis, places)
        return self._transform(padded)

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Return the volume of coefficients, without the padding."""
        matrix = self._matrix.to(coefficients)
        blocks = torch.einsum("nijk,ia,jb,kc->nabc", coefficients, matrix, matrix, matrix)
        first, second, third = self.blocks
        grid = blocks.reshape(first, second, third, self.edge, self.edge, self.edge)
        padded = grid.permute(0, 3, 1, 4, 2, 5).reshape([count * self.edge for count in self.blocks])
        return padded[tuple(slice(length) for length in self.shape)]

    def adjoint(self, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to the coefficients, given that with respect to :meth:`inverse`."""
        missing = [count * self.edge - length for count, length in zip(self.blocks, self.shape, strict=True)]
        return self._transform(pad(gradient, [0, missing[2], 0, missing[1], 0, missing[0]]))

    def _transform(self, padded: Tensor) -> Tensor:
        first, second, third = self.blocks
        grid = padded.reshape(first, self.edge, second, self.edge, third, self.edge)
        blocks = grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, self.edge, self.edge, self.edge)
        matrix = self._matrix.to(padded)
        return torch.einsum("nabc,ia,jb,kc->nijk", blocks, matrix, matrix, matrix)
