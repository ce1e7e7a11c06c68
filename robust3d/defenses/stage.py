# SPDX-License-Identifier: Apache-2.0
"""Training of one stage: Eq. 3 (natural) or Eq. 8 (adversarial) by SGD with polynomial decay."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robust3d.defenses.adversary import perturb, ramp
from robust3d.defenses.checkpoint import Progress, load_checkpoint, save_checkpoint
from robust3d.defenses.recipe import AdversarySettings, Recipe, StageSettings
from robust3d.defenses.sampling import Batch, WindowSampler
from robust3d.defenses.validation import Validation, validate
from robust3d.foundation.digest import digest_json, mix_seed
from robust3d.foundation.errors import InputError
from robust3d.losses.dice import soft_dice
from robust3d.networks.folding import channels_last, inference_copy
from robust3d.networks.registry import TrainingLoss, training_loss

Report = Callable[[int, float, Validation | None], None]
"""Called after every step with the steps done, the loss, and the validation if there was one."""

_LOSSES: dict[TrainingLoss, Callable[[Tensor, Tensor], Tensor]] = {"ce": cross_entropy, "dsc": soft_dice}


def stage_digest(recipe: Recipe, name: str) -> str:
    """Return the SHA-256 of all settings that decide the weights of one stage."""
    settings = recipe.model_dump(mode="json", exclude={"recipe", "reference", "deploy", "coarse", "fine", "network"})
    # A loss that was not chosen follows from the network.
    stage = recipe.stages[name].model_dump(mode="json", exclude_none=True)
    return digest_json(settings | {"network": recipe.network.settings(), "stage": name, "settings": stage})


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
    ) -> None:
        self.recipe = recipe
        self.stage: StageSettings = recipe.stages[name]
        self.loss = self.stage.loss or training_loss(recipe.network.name)
        self.adversary: AdversarySettings | None = recipe.adversary
        self.valid = (recipe.intensity.low, recipe.intensity.high)
        self.network = channels_last(network)
        self.device = next(network.parameters()).device
        self.training = training
        self.validation = validation
        self.checkpoint = checkpoint
        self.optimizer = _optimizer(network, self.stage)
        self.best: dict[str, Tensor] = {}
        self.progress = Progress(recipe=stage_digest(recipe, name), inputs=inputs)
        self.seeds = (recipe.seed, 0 if name == "coarse" else 1)
        if checkpoint.exists():
            self.best, self.progress = load_checkpoint(checkpoint, self.network, self.optimizer, self.progress)

    @property
    def finished(self) -> bool:
        """Whether all iterations are done."""
        return self.progress.iteration >= self.stage.iterations

    def run(self, report: Report, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Train to the end; when ``stop`` says so between two steps, save and return early."""
        while not self.finished:
            loss = self._step(self.progress.iteration)
            self.progress.iteration += 1
            done = self.progress.iteration
            due = done % self.stage.validate_every == 0 or self.finished
            report(done, loss, self._validate() if due else None)
            stopping = stop()
            if done % self.stage.checkpoint_every == 0 or self.finished or stopping:
                save_checkpoint(self.checkpoint, self.network, self.optimizer, self.best, self.progress)
            if stopping:
                return

    def _step(self, iteration: int) -> float:
        batch = self.training.draw(self.stage.batch, *self.seeds, iteration).to(self.device)
        image = self._attacked(batch, iteration)
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.stage.learning_rate * (1 - iteration / self.stage.iterations) ** self.stage.power
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            windows = batch.normalised(image).contiguous(memory_format=torch.channels_last_3d)
            loss = supervised_loss(self.network, windows, batch.label, self.stage.auxiliary_weights, loss=self.loss)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise InputError(
                f"the loss became {value} at step {iteration + 1}; lower the learning rate of the card and start anew "
                f"in another --out (last checkpoint: {self.checkpoint})"
            )
        loss.backward()
        self.optimizer.step()
        return value

    def _attacked(self, batch: Batch, iteration: int) -> Tensor:
        if self.adversary is None:
            return batch.image
        scale = ramp(self.adversary, iteration, self.stage.iterations)
        generator = torch.Generator().manual_seed(mix_seed(*self.seeds, iteration))
        with self._autocast():
            return perturb(
                inference_copy(self.network),
                batch,
                self.adversary.threat(self.valid, scale),
                steps=self.adversary.steps,
                step_size=self.adversary.step_size * scale,
                generator=generator,
            )

    def _validate(self) -> Validation:
        with self._autocast():
            result = validate(inference_copy(self.network), self.validation, self.adversary, self.valid, self.device)
        entry = {"iteration": float(self.progress.iteration), "clean_dsc": result.clean_dsc}
        if result.robust_dsc is not None:
            entry["robust_dsc"] = result.robust_dsc
        self.progress.history.append(entry)
        if result.score > self.progress.best_dsc:
            self.progress.best_dsc = result.score
            self.progress.best_iteration = self.progress.iteration
            self.best = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        return result

    def _autocast(self) -> torch.autocast:
        enabled = self.recipe.precision == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)


def supervised_loss(
    network: nn.Module, windows: Tensor, label: Tensor, weights: tuple[float, ...], *, loss: TrainingLoss = "ce"
) -> Tensor:
    """Loss of the main head plus the weighted ones of the auxiliary heads (Eq. 1 to 3).

    Parameters
    ----------
    network : nn.Module
        With ``forward_supervised`` (main logits first) if it has auxiliary heads.
    windows : Tensor, shape (B, 1, w, w, w)
        Normalised windows.
    label : Tensor of int64, shape (B, w, w, w)
        Class of each voxel.
    weights : tuple of float
        Weight xi of each auxiliary head.
    loss : str
        ``"ce"``, mean over voxels, or ``"dsc"``, soft Dice over the voxels of all windows.

    Raises
    ------
    InputError
        If the network does not return logits of the size of the windows.
    """
    supervised = getattr(network, "forward_supervised", None)
    outputs = supervised(windows) if supervised is not None else [network(windows)]
    total = torch.zeros((), device=windows.device)
    for weight, logits in zip((1.0, *weights), outputs, strict=False):
        if not isinstance(logits, Tensor) or logits.shape[2:] != label.shape[1:]:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(
                f"the network returned {found} for windows of shape {tuple(windows.shape)}; it must return logits "
                "(B, K, d, h, w)"
            )
        total = total + weight * _LOSSES[loss](logits.float(), label)
    return total


def _optimizer(network: nn.Module, stage: StageSettings) -> torch.optim.SGD:
    # Biases and normalisation parameters stay out of weight decay.
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": stage.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=stage.learning_rate, momentum=stage.momentum)
