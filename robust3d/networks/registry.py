# SPDX-License-Identifier: Apache-2.0
"""Networks by name, as cards call them."""

from __future__ import annotations

from typing import Any

from torch import nn

from robust3d.foundation.errors import InputError, nearest
from robust3d.networks.resdsn import ResDSN

NETWORKS: dict[str, type[nn.Module]] = {"resdsn": ResDSN}


def build_network(name: str, **options: Any) -> nn.Module:
    """Build a network with fresh weights.

    Raises
    ------
    InputError
        If the name or an option is unknown.
    """
    kind = _find(name)
    try:
        return kind(**options)
    except TypeError as error:
        raise InputError(f"network {name!r} cannot be built from {options}: {error}") from error


def count_auxiliary_heads(name: str) -> int:
    """Return how many auxiliary heads a network has with deep supervision: its ``auxiliary_heads``, or 0.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    return int(getattr(_find(name), "auxiliary_heads", 0))


def _find(name: str) -> type[nn.Module]:
    if name not in NETWORKS:
        raise InputError(f"unknown network {name!r}; {nearest(name, NETWORKS)}")
    return NETWORKS[name]
