# SPDX-License-Identifier: Apache-2.0
"""What can be told before cases are read: hours of training must not end in a slip of the card."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from robust3d.defenses.checkpoint import check_checkpoint, checkpoint_file
from robust3d.defenses.processes import ALONE, Processes
from robust3d.defenses.recipe import Recipe
from robust3d.defenses.stage import fresh_progress
from robust3d.defenses.start import FindWeights, starting_network
from robust3d.foundation.errors import InputError
from robust3d.networks.monai import PREFIX
from robust3d.segment.checks import checked
from robust3d.segment.network import check_stride


def check_training(
    recipe: Recipe, out: Path, *, find_weights: FindWeights, device: torch.device, processes: Processes = ALONE
) -> None:
    """Refuse a run whose network, windows, starting weights, batch or checkpoint do not fit, for all of its stages.

    Parameters
    ----------
    recipe : Recipe
        The card.
    out : Path
        Folder of the run.
    find_weights : callable
        Resolves ``MODEL/STAGE`` of a stage's ``start``.
    device : torch.device
        Where to train.
    processes : Processes
        Those that share each batch.

    Raises
    ------
    InputError
        Names the stage.
    """
    for name, stage in recipe.stages.items():
        try:
            processes.windows(stage.batch, stage.accumulate or 1)
            network = starting_network(recipe, name, coarse=None, find_weights=find_weights)
            check_windows(recipe, name, network.to(device))
            check_checkpoint(checkpoint_file(out, name), fresh_progress(recipe, name))
        except InputError as error:
            raise InputError(f"stage {name}: {error}") from error


def check_windows(recipe: Recipe, name: str, network: nn.Module) -> None:
    """Refuse windows of training or use that the network cannot halve down and build up again.

    Networks of MONAI do not say what fits them, and so are tried on a window of noise.

    Raises
    ------
    InputError
        Gives the window.
    """
    stage, deploy = recipe.stages[name], recipe.deploy
    deployed = deploy.coarse_window if name == "coarse" else deploy.fine_window
    for window in dict.fromkeys((stage.window, deployed or stage.window)):
        check_stride(network, (window,))
        if recipe.network.name.startswith(PREFIX):
            checked(network, (window, window, window), outputs="logits", window_batch=1)
