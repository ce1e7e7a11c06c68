# SPDX-License-Identifier: Apache-2.0
"""One training step of the bundled recipes against a plain float32 loop of the same recipe."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robust3d.data.phantoms import PhantomDataset
from robust3d.defenses.algorithms.pgd import Pgd
from robust3d.defenses.learner import supervised_loss
from robust3d.defenses.recipe import Recipe
from robust3d.defenses.sampling import WindowSampler
from robust3d.defenses.stage import StageTrainer
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.networks.auxiliary import AuxiliaryHead
from robust3d.networks.registry import build_network
from robust3d.segment.intensity import Intensity

from .contest import Figure, run_contest


def measure(name: str, *, rounds: int, clock: str) -> dict[str, object]:
    """Time a step of the coarse stage of a recipe at full strength: drawing windows, attack and update."""
    recipe = read_card(Collections.open().find("defenses", name), Recipe)
    torch.manual_seed(0)
    network = build_network(recipe.network.name, **recipe.network.build_options())
    dataset = PhantomDataset("train", 1)
    sampler = WindowSampler(
        [dataset.load(dataset.names[0])], recipe.coarse, Intensity(recipe.intensity.low, recipe.intensity.high)
    )
    plain = plain_loop(recipe, plain_layers(copy.deepcopy(network)), sampler)
    with TemporaryDirectory() as folder:
        trainer = StageTrainer(network, recipe, "coarse", sampler, sampler, Path(folder) / "none.safetensors")
        # Far enough that the attack has its full strength.
        numbers = itertools.count(recipe.coarse.iterations // 2)
        runs = {"plain": plain, "robust3d": lambda: trainer._step(next(numbers))}
        return run_contest(runs, [Figure("plain / robust3d", "plain", "robust3d", True)], rounds=rounds, clock=clock)


def plain_layers(network: nn.Module) -> nn.Module:
    """Return the network with auxiliary heads that run one layer after the other."""
    for name, child in network.named_children():
        if isinstance(child, AuxiliaryHead):
            setattr(network, name, nn.Sequential(*child))
    return network


def plain_loop(recipe: Recipe, network: nn.Module, sampler: WindowSampler) -> Callable[[], None]:
    """Return a function that does one step as tutorials do: float32, default layout, the network itself attacked."""
    stage = recipe.coarse
    optimizer = torch.optim.SGD(
        network.parameters(), lr=stage.learning_rate, momentum=stage.momentum, weight_decay=stage.weight_decay
    )
    valid = (recipe.intensity.low, recipe.intensity.high)
    numbers = itertools.count(stage.iterations // 2)

    def step() -> None:
        batch = sampler.draw(stage.batch, recipe.seed, 0, next(numbers))
        image, label = batch.image, batch.label.long()
        if isinstance(recipe.adversary, Pgd):
            image = _pgd(network, recipe.adversary, image, label, batch.normalised, valid)
        network.train()
        optimizer.zero_grad()
        supervised_loss(network, batch.normalised(image), label, stage.auxiliary_weights).backward()
        optimizer.step()

    return step


def _pgd(
    network: nn.Module,
    adversary: Pgd,
    clean: Tensor,
    label: Tensor,
    normalised: Callable[[Tensor], Tensor],
    valid: tuple[float, float],
) -> Tensor:
    network.eval()
    epsilon = adversary.epsilon
    image = (clean + torch.empty_like(clean).uniform_(-epsilon, epsilon)).clamp(*valid)
    for _ in range(adversary.steps):
        image.requires_grad_(True)
        network.zero_grad()
        cross_entropy(network(normalised(image)), label).backward()
        assert image.grad is not None
        moved = image.detach() + adversary.step_size * image.grad.sign()
        image = torch.minimum(torch.maximum(moved, clean - epsilon), clean + epsilon).clamp(*valid)
    return image
