# SPDX-License-Identifier: Apache-2.0
"""The network of a stage before its first step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from robust3d.defenses.recipe import Recipe
from robust3d.foundation.digest import mix_seed
from robust3d.networks.registry import build_network
from robust3d.networks.weights import load_weights

FindWeights = Callable[[str, str], Path]
"""Gives the weight file of a zoo model and stage; how models are found is the business of a floor above."""


def starting_network(recipe: Recipe, name: str, *, coarse: Path | None, find_weights: FindWeights) -> nn.Module:
    """Return the network of a stage with the weights that its card says it starts from.

    Parameters
    ----------
    recipe : Recipe
        The card.
    name : str
        ``"coarse"`` or ``"fine"``.
    coarse : Path or None
        Weights of this run's coarse stage; without, a stage that starts from them starts at random.
    find_weights : callable
        Resolves ``MODEL/STAGE``.

    Raises
    ------
    InputError
        If the weights are not found or belong to another network.
    """
    torch.manual_seed(mix_seed(recipe.seed, *name.encode()))
    network = build_network(recipe.network.name, **recipe.network.build_options())
    stage = recipe.stages[name]
    path = coarse
    if stage.start not in ("random", "coarse"):
        model, _, source = stage.start.rpartition("/")
        path = find_weights(model, source)
    if stage.start != "random" and path is not None:
        load_weights(network, path, layers=stage.start_layers)
    return network
