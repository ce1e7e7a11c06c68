# SPDX-License-Identifier: Apache-2.0
"""Training of one stage: Eq. 3 (natural) or what an adversary gives (Eq. 8), and its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robust3d.defenses.adversary import Step
from robust3d.defenses.batch import Batch
from robust3d.defenses.checkpoint import Progress, load_checkpoint, save_checkpoint
from robust3d.defenses.draws import Draws
from robust3d.defenses.learner import Learner
from robust3d.defenses.monitor import find_warnings
from robust3d.defenses.optimisation import Average, build_optimizer, learning_rate
from robust3d.defenses.prefetch import Prefetch
from robust3d.defenses.processes import ALONE, Processes
from robust3d.defenses.recipe import Recipe, StageSettings
from robust3d.defenses.sampling import WindowSampler
from robust3d.defenses.validation import Validation, validate
from robust3d.foundation.digest import digest_json, mix_seed
from robust3d.foundation.errors import InputError
from robust3d.foundation.memory import is_out_of_memory
from robust3d.networks.folding import channels_last, inference_copy
from robust3d.networks.registry import training_loss
from robust3d.networks.trained import cheaper_layers

Report = Callable[[int, float, Validation | None], None]
"""Called after every step with the steps done, the loss, and the validation if there was one."""


_APART = {"recipe", "reference", "deploy", "coarse", "fine", "network", "adversary"}
"""Sections of a recipe that decide nothing about the weights, or are dumped by themselves."""


def stage_settings(recipe: Recipe, name: str) -> dict[str, Any]:
    """Return all settings that decide the weights of one stage, JSON-ready."""
    settings = recipe.model_dump(mode="json", exclude=_APART)
    # Keys that are left out say nothing: a loss that was not chosen follows from the network.
    settings["data"] = recipe.data.model_dump(mode="json", exclude_none=True)
    stage = recipe.stages[name].model_dump(mode="json", exclude_none=True)
    # Dumped by itself, since an adversary of a user's own is none of the recipe's union.
    adversary = recipe.adversary
    settings["adversary"] = None if adversary is None else adversary.model_dump(mode="json", exclude_none=True)
    return settings | {"network": recipe.network.settings(), "stage": name, "settings": stage}


def stage_digest(recipe: Recipe, name: str) -> str:
    """Return the SHA-256 of the settings of one stage."""
    return digest_json(stage_settings(recipe, name))


def fresh_progress(recipe: Recipe, name: str, inputs: str = "") -> Progress:
    """Return the progress of a stage that has not begun."""
    settings = stage_settings(recipe, name)
    return Progress(recipe=digest_json(settings), inputs=inputs, settings=settings)


class StageTrainer:
    """Trains one stage; a new trainer on the same checkpoint goes on as if never stopped.

    Parameters
    ----------
    network : nn.Module
        Network with its starting weights, on its device.
    recipe : Recipe
        The card.
    name : str
        ``"coarse"`` or ``"fine"``.
    training, validation : WindowSampler
        Windows of training and of validation cases.
    checkpoint : Path
        File that the run resumes from and saves to.
    inputs : str
        SHA-256 of the starting weights and cases; a checkpoint of others is refused.
    processes : Processes
        Those that train together; each takes its share of every batch, and the first one saves. Their number decides
        nothing, and a run may go on in another.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        name: str,
        training: WindowSampler,
        validation: WindowSampler,
        checkpoint: Path,
        *,
        inputs: str = "",
        processes: Processes = ALONE,
    ) -> None:
        self.recipe = recipe
        self.stage: StageSettings = recipe.stages[name]
        self.valid = recipe.intensity.window
        self.processes = processes
        self.windows = processes.windows(self.stage.batch, self.stage.accumulate or 1)
        self.network = cheaper_layers(channels_last(network))
        self.device = next(network.parameters()).device
        loss = self.stage.loss or training_loss(recipe.network.name)
        self.learner = Learner(self.network, self.stage.auxiliary_weights, loss, recipe.precision)
        self.validation = validation
        self.checkpoint = checkpoint
        self.optimizer = build_optimizer(network, self.stage)
        self.average = None if self.stage.average is None else Average(network, self.stage.average)
        self.best: dict[str, Tensor] = {}
        self.progress = fresh_progress(recipe, name, inputs)
        self.seeds = (recipe.seed, 0 if name == "coarse" else 1)
        # Of the sampler, not of this trainer: a cycle would keep its cases in memory after it.
        draw = partial(_draw, training, self.stage.batch, self.seeds, self.windows)
        self.batches = Prefetch(draw, self.stage.iterations, self.device)
        if checkpoint.exists():
            self.best, self.progress = load_checkpoint(
                checkpoint, self.network, self.optimizer, self.progress, average=self._averaged
            )
        self.saved = self.progress.iteration
        processes.agree("start (hash of weights and cases, steps done)", (inputs[:16], self.saved))

    @property
    def finished(self) -> bool:
        """Whether all iterations are done."""
        return self.progress.iteration >= self.stage.iterations

    def run(self, report: Report, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Train to the end; when ``stop`` says so between two steps, save and return early."""
        while not self.finished:
            with self._fitting(f"step {self.progress.iteration + 1}"):
                loss = self._step(self.progress.iteration)
            self.progress.iteration += 1
            done = self.progress.iteration
            due = done % self.stage.validate_every == 0 or self.finished
            with self._fitting(f"the validation after step {done}"):
                found = self._validate() if due else None
            report(done, loss, found)
            # One process may hear of it before the others, and all must stop after the same step.
            (stopping,) = self.processes.total([stop()])
            if done % self.stage.checkpoint_every == 0 or self.finished or stopping:
                self._save()
            if stopping:
                return

    @property
    def _judged(self) -> nn.Module:
        """What is validated and kept: the average of the weights where there is one."""
        return self.network if self.average is None else self.average.network

    @property
    def _averaged(self) -> nn.Module | None:
        return None if self.average is None else self.average.network

    def _save(self) -> None:
        try:
            self.processes.once(self._write)
        except InputError as error:
            raise InputError(f"{error}; the last checkpoint is of step {self.saved}") from error
        self.saved = self.progress.iteration

    def _write(self) -> None:
        save_checkpoint(self.checkpoint, self.network, self.optimizer, self.best, self.progress, average=self._averaged)

    @contextmanager
    def _fitting(self, what: str) -> Iterator[None]:
        """Tell a lack of memory in ``what`` in a sentence."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            windows, edge = len(self.windows), self.stage.window
            raise InputError(
                f"{windows} windows of {edge} x {edge} x {edge} voxels do not fit the memory of {self.device} in "
                f"{what}; start anew in another --out with accumulate in the section of the stage, by which the batch "
                f"passes in parts, or go on from step {self.saved} in {self.checkpoint} with more processes"
            ) from error

    def _step(self, iteration: int) -> float:
        batch = self.batches(iteration)
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.stage, iteration)
        seed = mix_seed(*self.seeds, iteration)
        # What layers draw, such as dropout: the same in a resumed run, another in each process.
        torch.manual_seed(mix_seed(seed, self.processes.rank))
        generator = torch.Generator().manual_seed(seed)
        draws = Draws(generator, self.processes.rank, self.processes.count)
        parts = [self._objectives(part, iteration, draws) for part in batch.split(self.stage.accumulate or 1)]
        values = list(iter(lambda: self._update(parts, iteration), None))
        if self.average is not None:
            self.average.update(self.network, iteration)
        return sum(values) / len(values)

    def _objectives(self, batch: Batch, iteration: int, draws: Draws) -> Iterator[Tensor]:
        """Yield the scalars to minimise one after the other in this iteration."""
        adversary = self.recipe.adversary
        strength = adversary.strength(iteration, self.stage.iterations) if adversary is not None else 0.0
        if adversary is None or strength == 0:
            yield self.learner.supervised(batch, batch.image)[0]
            return
        threat = adversary.threat(self.valid, strength)
        yield from adversary.objectives(Step(self.learner, batch, threat, strength, draws))

    def _update(self, parts: list[Iterator[Tensor]], iteration: int) -> float | None:
        """Update the weights by the mean of the next objective of each part; ``None`` if there is no next one."""
        self.optimizer.zero_grad(set_to_none=True)
        values = []
        for part in parts:
            objective = next(part, None)
            if objective is None:
                return None
            (total,) = self.processes.total([float(objective.detach())])
            values.append(total / self.processes.count)
            if not math.isfinite(values[-1]):
                raise InputError(
                    f"the loss became {values[-1]} at step {iteration + 1}; lower the learning rate of the card and "
                    f"start anew in another --out (last checkpoint: step {self.saved} in {self.checkpoint})"
                )
            (objective / len(parts)).backward()
        self.processes.average_gradients(self.network)
        self.optimizer.step()
        return sum(values) / len(values)

    def _validate(self) -> Validation:
        with self.learner.autocast():
            network = inference_copy(self._judged)
            result = validate(network, self.validation, self.recipe.adversary, self.valid, self.device, self.processes)
        self.progress.history.append(result.entry(self.progress.iteration))
        if result.score > self.progress.best_dsc:
            self.progress.best_dsc = result.score
            self.progress.best_iteration = self.progress.iteration
            self.best = {name: tensor.detach().clone() for name, tensor in self._judged.state_dict().items()}
        return replace(result, warnings=find_warnings(self.progress.history))


def _draw(sampler: WindowSampler, size: int, seeds: tuple[int, int], windows: Sequence[int], iteration: int) -> Batch:
    return sampler.draw(size, *seeds, iteration, only=windows)
