# SPDX-License-Identifier: Apache-2.0
"""How large a model is: parameters of its network and bytes of its weight files."""

from __future__ import annotations

from pathlib import Path

import torch

from robust3d.foundation.errors import InputError
from robust3d.networks.registry import build_deployed
from robust3d.zoo.card import ModelCard


def count_parameters(card: ModelCard) -> int:
    """Return the number of parameters of one stage, without the heads that only training uses."""
    with torch.device("meta"):
        network = build_deployed(card.network.name, **card.network.build_options())
    return sum(parameter.numel() for parameter in network.parameters())


def stored_bytes(card: ModelCard, folder: Path) -> int:
    """Return the size of the weight files of all stages.

    Raises
    ------
    InputError
        If one is missing.
    """
    files = [stage.weight_file(folder) for stage in card.stages.values()]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise InputError(f"weights {missing[0]} are missing")
    return sum(file.stat().st_size for file in files)
