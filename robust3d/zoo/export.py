# SPDX-License-Identifier: Apache-2.0
"""From a finished training run to a model folder that the zoo can hold."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import tomlkit

from robust3d.data.splits import FILE, Split, write_split
from robust3d.defenses.recipe import Recipe
from robust3d.defenses.run import TrainedStage
from robust3d.foundation.files import make_folder, replacing, write_text
from robust3d.networks.card import NetworkCard
from robust3d.segment.fusion import FusionKind
from robust3d.zoo.card import (
    CascadeCard,
    IntensityCard,
    ModelAbout,
    ModelCard,
    SplitCard,
    StageCard,
    TrainingCard,
)


def model_name(recipe: Recipe) -> str:
    """Return the name of a recipe's model unless a user gives another: network, ``c2f`` for two stages, recipe."""
    return f"{recipe.network.name}-{'c2f-' if recipe.fine else ''}{recipe.recipe.name}"


def export_model(
    recipe: Recipe,
    stages: Sequence[TrainedStage],
    folder: Path,
    *,
    name: str,
    command: str,
    split: Split | None = None,
) -> ModelCard:
    """Write ``card.toml`` and the weights of a run into ``folder``.

    Parameters
    ----------
    recipe : Recipe
        Card of the run; its ``deploy`` section says how the model slides over a volume.
    stages : sequence of TrainedStage
        Finished stages, the coarse one first.
    folder : Path
        New model folder.
    name : str
        Name of the model.
    command : str
        The command that trains it again.
    split : Split, optional
        Names of the cases of the run; written beside the card.
    """
    make_folder(folder)
    for stage in stages:
        with replacing(folder / stage.weights.name) as temporary:
            shutil.copyfile(stage.weights, temporary)
    if split is None:
        # Of an earlier model in this folder.
        (folder / FILE).unlink(missing_ok=True)
    else:
        write_split(split, folder / FILE)
    card = model_card(recipe, stages, name=name, command=command, split=split)
    # The fine stage has no component filter of its own.
    content = card.model_dump(mode="json", exclude_none=True, exclude={"fine": {"min_component"}})
    write_text(folder / "card.toml", tomlkit.dumps(content))
    return card


def model_card(
    recipe: Recipe, stages: Sequence[TrainedStage], *, name: str, command: str, split: Split | None = None
) -> ModelCard:
    """Return the card of a trained model."""
    trained = {stage.name: stage for stage in stages}
    robust = recipe.adversary is not None
    adversary = recipe.adversary
    under = "clean"
    if adversary is not None and adversary.epsilon > 0:
        under = f"PGD-{adversary.validation_steps} at {adversary.epsilon:g} {adversary.unit}"
    figures: dict[str, str | int | float] = {}
    for key, stage in trained.items():
        figures[f"{key}_sha256"] = stage.progress.recipe
        figures[f"{key}_iterations"] = stage.progress.best_iteration
        figures[f"{key}_validation_dsc"] = round(100 * stage.progress.best_dsc, 2)
    network = {key: value for key, value in recipe.network.settings().items() if key != "deep_supervision"}
    deploy = recipe.deploy
    fine: StageCard | None = None
    cascade: CascadeCard | None = None
    if recipe.fine is not None and deploy.fine_grid is not None and deploy.margin is not None:
        fine = _stage(trained["fine"], deploy.fine_window or recipe.fine.window, deploy.fine_grid, deploy.fusion)
        cascade = CascadeCard(margin=deploy.margin, min_component=deploy.min_component, align=deploy.align or 1)
    return ModelCard(
        model=ModelAbout(
            name=name,
            description=recipe.recipe.description,
            defense=recipe.recipe.name if robust else "none",
            data=_describe_data(recipe, split),
            licence=recipe.recipe.licence or ("Apache-2.0" if recipe.data.source == "phantom" else "not stated"),
        ),
        network=NetworkCard(**network),
        intensity=IntensityCard(low=recipe.intensity.low, high=recipe.intensity.high),
        coarse=_stage(
            trained["coarse"],
            deploy.coarse_window or recipe.coarse.window,
            deploy.coarse_grid,
            deploy.fusion,
            min_component=deploy.min_component,
        ),
        fine=fine,
        cascade=cascade,
        training=TrainingCard(
            recipe=recipe.recipe.name,
            command=command,
            seed=recipe.seed,
            validation=f"foreground DSC in percent pooled over fixed validation windows, {under}, best iteration",
            **figures,  # type: ignore[arg-type]
        ),
        split=None if split is None else SplitCard(file=FILE, sha256=split.sha256),
        reference=recipe.reference,
    )


def _describe_data(recipe: Recipe, split: Split | None) -> str:
    data = recipe.data
    counts = (data.train_cases, data.validation_cases)
    if split is not None:
        counts = (len(split.train), len(split.validation))
    parts = [f"{data.source}: {counts[0]} training, {counts[1]} validation cases"]
    if split is not None and data.split is not None:
        parts.append(f"split {split.name}")
    if data.classes:
        parts.append(", ".join(f"class {index} {one.name}" for index, one in enumerate(data.classes, start=1)))
    if data.cyst:
        parts.append("class 1 pancreas, class 2 cyst")
    if data.rescale:
        parts.append("voxels in percent of the case's 0.5 to 99.5 percentile range")
    return "; ".join(parts)


def _stage(
    trained: TrainedStage, window: int, grid: str, fusion: FusionKind, *, min_component: float = 0.0
) -> StageCard:
    return StageCard(
        weights=trained.weights.name,
        sha256=trained.sha256,
        window=window,
        grid=grid,
        fusion=fusion,
        min_component=min_component,
    )
