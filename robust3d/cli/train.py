# SPDX-License-Identifier: Apache-2.0
"""``robust3d train``."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
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
    fold: str | None = None,
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
        Folder of labelled cases in any layout that robust3d data check knows; for recipes that do not generate theirs.
    fold
        I/K: cut the cases into K folds, leave fold I out for testing and train on the others; all/K: every fold, one
        after the other. A model is saved in OUT/zoo/NAME/fold-I; once all K are there, robust3d run --collection OUT
        evaluates each case with the model that did not see it.
    name
        Name of the model in its card; the recipe's by default.
    steps
        Stop after so many steps of the first stage and write OUT/reproduction.json: the loss of each step and the hash
        of the weights, to compare with another machine's or the file beside a model's card.
    """
    from robust3d.cli.progress import progress_bar
    from robust3d.defenses.cases import Fold, training_cases
    from robust3d.defenses.launch import joined, local_device
    from robust3d.defenses.preflight import check_training
    from robust3d.defenses.recipe import Recipe
    from robust3d.defenses.run import Training
    from robust3d.foundation.allocator import keep_freed_memory
    from robust3d.foundation.cards import read_card
    from robust3d.foundation.collections import Collections
    from robust3d.report.tracking.open import check_trackers
    from robust3d.zoo.export import export_model, model_name
    from robust3d.zoo.load import find_device, weight_file
    from robust3d.zoo.members import check_starts

    keep_freed_memory()
    check_trackers(track)
    collections = Collections.open(collection)
    recipe = read_card(collections.find("defenses", card), Recipe)
    model = name or model_name(recipe)
    place = find_device(local_device(device))
    find_weights = partial(weight_file, collections=collections)
    with joined(place) as processes:
        console = Console(highlight=False, quiet=not processes.first)
        runs = []
        for part in [None] if fold is None else Fold.parse_all(fold):
            folder = out if part is None else out / f"fold-{part.index}"
            cases = training_cases(recipe, data, part, collections)
            check_starts(recipe, cases.split, collections)
            check_training(recipe, folder, find_weights=find_weights, device=place, processes=processes)
            runs.append((part, folder, cases))
        for part, folder, cases in runs:
            with progress_bar("cases", quiet=not processes.first) as bar:
                task = bar.add_task("loading cases", total=cases.size)
                loaded = cases.load(partial(bar.advance, task))
            training = Training(
                recipe,
                folder,
                *loaded,
                find_weights=find_weights,
                device=place,
                processes=processes,
            )
            if steps is not None:
                _record(training, steps, console)
                continue
            finished = _train_stages(training, track if processes.first else (), console)
            own, home = model, out / "model"
            if part is not None:
                own = f"{model}/fold-{part.index}"
                home = out / "zoo" / own
            command = _command(card, out, data=data is not None, fold=part, name=name, collection=collection)
            processes.once(partial(export_model, recipe, finished, home, name=own, command=command, split=cases.split))
            console.print(f"saved model {own} in {home}", markup=False)


def _record(training: Any, steps: int, console: Console) -> None:
    """Write the record of the first steps; Ctrl-C and SIGTERM stop after the step."""
    from robust3d.defenses.reproduction import reproduce

    with _stop_asked() as asked:
        said = reproduce(training, steps, stop=asked.is_set)
    if said is None:
        console.print("stopped; a record starts from the first step when called again", markup=False)
        raise SystemExit(130)
    console.print(said, markup=False, soft_wrap=True)


def _command(
    card: str, out: Path, *, data: bool, fold: object | None, name: str | None, collection: tuple[Path, ...]
) -> str:
    """Return the command that trains the model again, without what its user's folders lie in."""
    words = ["robust3d", "train", card, "--out", out.resolve().name]
    words += ["--data", "DATA"] if data else []
    words += [] if fold is None else ["--fold", str(fold)]
    words += [] if name is None else ["--name", name]
    for one in collection:
        words += ["--collection", one.resolve().name]
    return shlex.join(words)


def _train_stages(training: Any, track: tuple[str, ...], console: Console) -> list[Any]:
    """Train every stage in turn; Ctrl-C and SIGTERM stop after the step."""
    from robust3d.report.tracking.open import open_tracker
    from robust3d.report.tracking.training import track_recipe

    finished = []
    recipe = training.recipe
    with _stop_asked() as asked, open_tracker(track, training.out, name=recipe.recipe.name) as tracker:
        track_recipe(tracker, recipe)
        for stage in recipe.stages:
            result = _train_stage(training, stage, asked, console, tracker)
            if result is None:
                raise KeyboardInterrupt
            finished.append(result)
    return finished


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
