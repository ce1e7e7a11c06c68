# SPDX-License-Identifier: Apache-2.0
"""``robust3d train``."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console

from robust3d.cli.options import Collection, Device, Out, Track


def train(
    card: str,
    *,
    out: Out,
    data: Path | None = None,
    name: str | None = None,
    steps: int | None = None,
    device: Device = "auto",
    collection: Collection = (),
    track: Track = (),
) -> None:
    """Train a model by a recipe into OUT/model, a folder that a zoo can hold; the same call resumes.

    Parameters
    ----------
    card
        Name of a training recipe, or a path to its card.
    data
        nnU-Net raw folder: its first cases train, the next ones validate; for recipes that do not generate theirs.
    name
        Name of the model in its card; the recipe's by default.
    steps
        Stop after so many steps of the first stage and write OUT/reproduction.json: the loss of each step and the hash
        of the weights, to compare with another machine's or the file beside a model's card.
    """
    from robust3d.cli.progress import progress_bar
    from robust3d.data.folder import FolderDataset
    from robust3d.defenses.launch import joined, local_device
    from robust3d.defenses.recipe import Recipe
    from robust3d.defenses.reproduction import reproduce
    from robust3d.defenses.run import Training, recipe_datasets
    from robust3d.foundation.allocator import keep_freed_memory
    from robust3d.foundation.cards import read_card
    from robust3d.foundation.collections import Collections
    from robust3d.foundation.errors import InputError
    from robust3d.report.tracking.open import open_tracker
    from robust3d.report.tracking.training import track_recipe
    from robust3d.zoo.export import export_model
    from robust3d.zoo.load import find_device, weight_file

    keep_freed_memory()
    collections = Collections.open(collection)
    recipe = read_card(collections.find("defenses", card), Recipe)
    sizes = recipe.data.train_cases, recipe.data.validation_cases
    if data is None:
        datasets: Any = recipe_datasets(recipe)
    elif recipe.data.source == "phantom":
        raise InputError(f"recipe {recipe.recipe.name} generates its cases; leave out --data {data}")
    else:
        datasets = (FolderDataset.open(data, limit=sizes[0]), FolderDataset.open(data, first=sizes[0], limit=sizes[1]))
    place = find_device(local_device(device))
    with joined(place) as processes:
        console = Console(highlight=False, quiet=not processes.first)
        with progress_bar("cases", quiet=not processes.first) as bar:
            task = bar.add_task("loading cases", total=sum(sizes))
            loaded = [[_advance(bar, task, dataset.load(case)) for case in dataset.names] for dataset in datasets]
        training = Training(
            recipe,
            out,
            *loaded,
            find_weights=lambda model, stage: weight_file(model, stage, collections),
            device=place,
            processes=processes,
        )
        if steps is not None:
            console.print(reproduce(training, steps), markup=False, soft_wrap=True)
            return
        finished = []
        tracked = track if processes.first else ()
        with _stop_asked() as asked, open_tracker(tracked, out, name=recipe.recipe.name) as tracker:
            track_recipe(tracker, recipe)
            for stage in recipe.stages:
                result = _train_stage(training, stage, asked, console, tracker)
                if result is None:
                    raise KeyboardInterrupt
                finished.append(result)
        command = f"robust3d train {card} --out {out.name}" + (" --data DATA" if data else "")
        model = name or f"{recipe.network.name}-{'c2f-' if recipe.fine else ''}{recipe.recipe.name}"
        processes.once(lambda: export_model(recipe, finished, out / "model", name=model, command=command))
        console.print(f"saved model {model} in {out / 'model'}", markup=False)


def _train_stage(training: Any, stage: str, asked: Event, console: Console, tracker: Any) -> Any:
    from robust3d.cli.progress import progress_bar
    from robust3d.report.tracking.training import track_step

    total = training.recipe.stages[stage].iterations
    with progress_bar("steps", quiet=not training.processes.first) as bar:
        task = bar.add_task(stage, total=total)

        last = 0

        def report(done: int, loss: float, validation: Any) -> None:
            nonlocal last
            last = done
            track_step(tracker, training.recipe, stage, done, loss, validation)
            bar.update(task, completed=done, description=f"{stage}  loss {loss:.3f}")
            if validation is not None:
                robust = "" if validation.robust_dsc is None else f", robust {100 * validation.robust_dsc:.1f} %"
                robust += "" if validation.fgsm_dsc is None else f" (FGSM {100 * validation.fgsm_dsc:.1f} %)"
                bar.console.print(
                    f"{stage} {done}/{total}  loss {loss:.4f}  validation DSC clean {100 * validation.clean_dsc:.1f} %"
                    f"{robust} (foreground, pooled over windows)",
                    highlight=False,
                    soft_wrap=True,
                )
                for warning in validation.warnings:
                    bar.console.print(f"{stage} {done}/{total}  warning: {warning}", highlight=False, soft_wrap=True)

        result = training.run_stage(stage, report, stop=asked.is_set)
    if result is None:
        console.print(
            f"stopped; checkpoint of step {last} in {training.checkpoint(stage)}", markup=False, soft_wrap=True
        )
    return result


def _advance(bar: Any, task: Any, case: Any) -> Any:
    bar.advance(task)
    return case


@contextmanager
def _stop_asked() -> Iterator[Event]:
    """Turn the first Ctrl-C or SIGTERM into a request to stop after the step, so that nothing is lost."""
    asked = Event()
    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.signal(name, lambda *_: asked.set()) for name in names}
    try:
        yield asked
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
