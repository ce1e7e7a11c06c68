# SPDX-License-Identifier: Apache-2.0
"""Smooth random fields: periodic lattices of normal numbers, interpolated by cubic B-splines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Standard deviation of a B-spline sum of unit normals, averaged over a cell: variance 151 / 315 per axis.
_SPLINE_STD = (151.0 / 315.0) ** 1.5


def _basis(coordinates: FloatArray, pitch: float, nodes: int) -> FloatArray:
    position = coordinates / pitch
    cell = np.floor(position)
    t = position - cell
    weights = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
    matrix = np.zeros((len(coordinates), nodes))
    rows = np.arange(len(coordinates))
    for shift, weight in enumerate(weights):
        matrix[rows, (cell.astype(np.int64) + shift - 1) % nodes] += weight
    return matrix


def draw_lattice(generator: np.random.Generator, nodes: int = 24) -> FloatArray:
    """Draw the node values of a field; the number of draws depends on nothing but `nodes`.

    Parameters
    ----------
    generator
        Source of the draws.
    nodes
        Nodes along each axis; the field repeats after ``nodes * pitch`` millimetres.

    Returns
    -------
    FloatArray
        Standard normal values, shape ``(nodes, nodes, nodes)``.
    """
    return generator.standard_normal((nodes, nodes, nodes))


def evaluate_field(lattice: FloatArray, pitch: float, axes: Sequence[FloatArray]) -> FloatArray:
    """Evaluate a lattice on a rectilinear grid.

    Parameters
    ----------
    lattice
        Node values from `draw_lattice`.
    pitch
        Distance between nodes in mm; about half the shortest wavelength of the field.
    axes
        Three vectors of coordinates in mm.

    Returns
    -------
    FloatArray
        Field of mean 0 and standard deviation 1, shape ``(len(axes[0]), len(axes[1]), len(axes[2]))``.
    """
    first, second, third = (_basis(axis, pitch, lattice.shape[0]) for axis in axes)
    # einsum without optimisation keeps to one thread and one order of summation.
    field = np.einsum("abc,kc->abk", lattice, third, optimize=False)
    field = np.einsum("abk,jb->ajk", field, second, optimize=False)
    field = np.einsum("ajk,ia->ijk", field, first, optimize=False)
    return np.asarray(field / _SPLINE_STD, dtype=np.float64)
