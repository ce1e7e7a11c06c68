# SPDX-License-Identifier: Apache-2.0
"""A whole training run: cases, the stages in order, and their best weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from robust3d.defenses.checkpoint import Progress, checkpoint_file
from robust3d.defenses.preflight import check_windows
from robust3d.defenses.processes import ALONE, Processes
from robust3d.defenses.recipe import Recipe
from robust3d.defenses.sampling import WindowSampler
from robust3d.defenses.stage import Report, StageTrainer
from robust3d.defenses.start import FindWeights, starting_network
from robust3d.defenses.synchronised import synchronise_batch_norm
from robust3d.foundation.digest import digest_file, digest_json
from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder
from robust3d.networks.weights import save_weights
from robust3d.segment.intensity import Intensity
from robust3d.segment.network import digest_network
from robust3d.volume.labels import IGNORE
from robust3d.volume.volume import Volume


@dataclass(frozen=True)
class TrainedStage:
    """What a stage came to.

    Parameters
    ----------
    name : str
        ``"coarse"`` or ``"fine"``.
    weights : Path
        Best weights, half precision.
    sha256 : str
        Hash of that file.
    progress : Progress
        Iterations, best validation DSC and history.
    """

    name: str
    weights: Path
    sha256: str
    progress: Progress


class Training:
    """A run of a recipe in an output folder; the same call again resumes it.

    Parameters
    ----------
    recipe : Recipe
        The card.
    out : Path
        Folder for ``<stage>.checkpoint.safetensors`` and ``<stage>.safetensors``.
    training, validation : sequence of Volume
        Labelled cases in memory.
    find_weights : callable
        Resolves ``MODEL/STAGE`` of a stage's ``start``.
    device : torch.device
        Where to train.
    processes : Processes
        Those that train together, with the same cases and output folder; this one alone by default.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        training: Sequence[Volume],
        validation: Sequence[Volume],
        *,
        find_weights: FindWeights,
        device: torch.device,
        processes: Processes = ALONE,
    ) -> None:
        self.recipe = recipe
        self.out = make_folder(out)
        self.cases = (training, validation)
        self.find_weights = find_weights
        self.device = device
        self.processes = processes
        self.intensity = Intensity(*(recipe.intensity.window or ()))
        for case in (*training, *validation):
            highest = int(case.known_label().max())
            if highest == IGNORE:
                raise InputError(
                    f"case {case.name} holds voxels that its annotators left open (label 'ignore'), which training "
                    "does not support; give them a class, or leave the case out"
                )
            if highest >= recipe.network.classes:
                raise InputError(
                    f"case {case.name} holds class {highest}, the network of the card has classes 0 to "
                    f"{recipe.network.classes - 1}; raise classes in its section network"
                )

    def checkpoint(self, name: str) -> Path:
        """Return the file that a stage resumes from."""
        return checkpoint_file(self.out, name)

    def trainer(self, name: str) -> StageTrainer:
        """Return the trainer of a stage, resumed from its checkpoint if there is one."""
        stage = self.recipe.stages[name]
        training, validation = (WindowSampler(cases, stage, self.intensity) for cases in self.cases)
        coarse = self.out / "coarse.safetensors"
        network = starting_network(self.recipe, name, coarse=coarse, find_weights=self.find_weights).to(self.device)
        check_windows(self.recipe, name, network)
        inputs = digest_json([digest_network(network), *(case.sha256 for cases in self.cases for case in cases)])
        if self.processes.count > 1:
            network = synchronise_batch_norm(network, self.device)
        return StageTrainer(
            network,
            self.recipe,
            name,
            training,
            validation,
            self.checkpoint(name),
            inputs=inputs,
            processes=self.processes,
        )

    def run_stage(self, name: str, report: Report, *, stop: Callable[[], bool] = lambda: False) -> TrainedStage | None:
        """Train one stage and write its best weights; ``None`` if it was stopped before its end."""
        trainer = self.trainer(name)
        trainer.run(report, stop=stop)
        if not trainer.finished:
            return None
        trainer.network.load_state_dict(trainer.best)
        path = self.out / f"{name}.safetensors"
        self.processes.once(lambda: save_weights(trainer.network, path))
        return TrainedStage(name, path, digest_file(path), trainer.progress)
