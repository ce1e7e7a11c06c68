# SPDX-License-Identifier: Apache-2.0
"""From gradients to weights: optimizers, schedules of the learning rate, and an average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from robust3d.defenses.recipe import StageSettings


def build_optimizer(network: nn.Module, stage: StageSettings) -> torch.optim.Optimizer:
    """Return SGD with momentum, or AdamW (Loshchilov & Hutter, arXiv 1711.05101)."""
    # Biases and normalisation parameters stay out of weight decay.
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": stage.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if stage.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=stage.learning_rate)
    return torch.optim.SGD(groups, lr=stage.learning_rate, momentum=stage.momentum)


def learning_rate(stage: StageSettings, iteration: int) -> float:
    """Return the rate of an iteration: polynomial, or half a cosine (Loshchilov & Hutter, arXiv 1608.03983, Eq. 5)."""
    done = iteration / stage.iterations
    if stage.schedule == "cosine":
        return stage.learning_rate * (1 + math.cos(math.pi * done)) / 2
    return float(stage.learning_rate * (1 - done) ** stage.power)


class Average:
    """Exponential moving average of weights and statistics (as in Tarvainen & Valpola, arXiv 1703.01780).

    Parameters
    ----------
    network : nn.Module
        Network at the start of the run.
    decay : float
        Weight of the past, from 0 to 1; less in the first iterations, so that the start is forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, iteration: int) -> None:
        """Take in the weights after an iteration, counted from 0."""
        decay = min(self.decay, (1 + iteration) / (10 + iteration))
        current = network.state_dict()
        for name, mean in self.network.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(current[name], 1 - decay)
            else:
                mean.copy_(current[name])
