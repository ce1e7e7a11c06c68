# SPDX-License-Identifier: Apache-2.0
"""Optimizers, schedules, averaged weights and accumulated gradients against their formulae, and their resume."""

import copy
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from robust3d.defenses.optimisation import Average, build_optimizer, learning_rate
from tests.defenses.conftest import adversary_section
from tests.defenses.test_training import quiet, start

OPTIONS = {"optimizer": "adamw", "learning_rate": 0.01, "schedule": "cosine", "average": 0.8, "accumulate": 2}


def test_schedules_by_hand(make_recipe) -> None:
    cosine = make_recipe(iterations=8, learning_rate=0.4, schedule="cosine").coarse
    assert [learning_rate(cosine, k) for k in (0, 2, 4, 6)] == pytest.approx(
        [0.4, 0.2 * (1 + math.sqrt(0.5)), 0.2, 0.2 * (1 - math.sqrt(0.5))]
    )
    poly = make_recipe(iterations=8, learning_rate=0.4, power=2).coarse
    assert [learning_rate(poly, k) for k in (0, 4, 6)] == pytest.approx([0.4, 0.1, 0.025])


def test_the_first_step_of_adamw_by_hand(make_recipe) -> None:
    """Its bias-corrected moments are the gradient and its square: a step of the rate along the sign, after decay."""
    network = nn.Conv3d(1, 1, 1)
    stage = make_recipe(optimizer="adamw", learning_rate=0.1, weight_decay=0.5).coarse
    weight, bias = network.weight.item(), network.bias.item()
    network.weight.grad, network.bias.grad = torch.full_like(network.weight, 3.0), torch.full_like(network.bias, -7.0)
    build_optimizer(network, stage).step()
    assert network.weight.item() == pytest.approx(weight * (1 - 0.1 * 0.5) - 0.1, rel=1e-5)
    assert network.bias.item() == pytest.approx(bias + 0.1, rel=1e-5)


def test_the_average_by_hand() -> None:
    network = nn.BatchNorm3d(1)
    average = Average(network, 0.5)
    expected = 1.0
    for iteration, value in enumerate((2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)):
        with torch.no_grad():
            network.weight.fill_(value)
            network.running_var.fill_(value)
            network.num_batches_tracked.add_(1)
        average.update(network, iteration)
        decay = min(0.5, (1 + iteration) / (10 + iteration))
        expected = decay * expected + (1 - decay) * value
        assert average.network.weight.item() == pytest.approx(expected)
        assert average.network.running_var.item() == pytest.approx(expected)
    assert average.network.num_batches_tracked == 10
    assert decay == 0.5


@pytest.mark.parametrize("adversary", [False, True])
def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path, cases, make_recipe, adversary) -> None:
    """For a network without batch normalisation, cross entropy, and an attack that draws nothing."""
    trained = []
    for parts in (None, 2, 4):
        section = adversary_section("free", replays=2) if adversary else False
        recipe = make_recipe(
            adversary=section, batch=4, accumulate=parts, iterations=1, loss="ce", learning_rate=1e-3,
            network={"name": "vnet", "width": 2},
        )  # fmt: skip
        trainer = start(recipe, tmp_path / str(parts), cases).trainer("coarse")
        before = copy.deepcopy(trainer.network.state_dict())
        trainer.run(quiet)
        change = [tensor - before[name] for name, tensor in trainer.network.state_dict().items()]
        trained.append(torch.cat([tensor.flatten() for tensor in change]))
    for parts in trained[1:]:
        assert trained[0].norm() > 0
        # A gradient within rounding of 0 may move a voxel the other way.
        assert (parts - trained[0]).norm() < (0.02 if adversary else 1e-4) * trained[0].norm()


@pytest.mark.parametrize("algorithm", [None, "free"])
def test_a_stopped_run_resumes_with_all_options(tmp_path, cases, make_recipe, algorithm) -> None:
    recipe = make_recipe(adversary=algorithm is not None and adversary_section(algorithm), **OPTIONS)
    start(recipe, tmp_path / "whole", cases).run_stage("coarse", quiet)
    trainer = start(recipe, tmp_path / "parts", cases).trainer("coarse")
    trainer.run(quiet, stop=lambda: trainer.progress.iteration == 7)
    assert not trainer.finished
    start(recipe, tmp_path / "parts", cases).run_stage("coarse", quiet)
    for suffix in (".safetensors", ".checkpoint.safetensors"):
        first, second = (load_file(tmp_path / run / f"coarse{suffix}") for run in ("whole", "parts"))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_average_is_what_is_validated_and_kept(tmp_path, cases, make_recipe) -> None:
    recipe = make_recipe(iterations=4, validate_every=4, average=0.9)
    trainer = start(recipe, tmp_path, cases).trainer("coarse")
    trainer.run(quiet)
    averaged = trainer.average.network.state_dict()
    assert all(torch.equal(trainer.best[name], tensor) for name, tensor in averaged.items())
    assert any(not torch.equal(tensor, averaged[name]) for name, tensor in trainer.network.state_dict().items())
