# SPDX-License-Identifier: Apache-2.0
"""``robust3d doctor``."""

from __future__ import annotations

import json as encoder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from robust3d.cli.options import Collection, Device, Images
from robust3d.foundation.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust3d.attacks.ascent import GradientAscent
    from robust3d.benchmarks.diagnostics.exam import Exam
    from robust3d.benchmarks.diagnostics.finding import Finding
    from robust3d.foundation.collections import Collections
    from robust3d.volume.volume import Volume


def doctor(
    model: str,
    *,
    case_count: int | None = None,
    image: Images = (),
    label: Path | None = None,
    attack: str | None = None,
    epsilon: float = 10.2,
    unit: Literal["HU", "intensity"] = "HU",
    valid: Annotated[tuple[float, float] | None, Parameter(negative=())] = None,
    json: Path | None = None,
    seed: int = 0,
    device: Device = "auto",
    collection: Collection = (),
) -> None:
    """Check whether a robustness figure of a model can be trusted; a flag is a finding, the exit code stays 0.

    On phantom test cases, or on your own case with --image and --label. docs/doctor.md explains every check.

    Parameters
    ----------
    model
        Name of a model, NAME/coarse for one stage, or a path: a MONAI bundle, a card (docs/models.md).
    case_count
        Phantom test cases, 1 by default.
    label
        NIfTI label on the grid of --image.
    attack
        Name of an untargeted attack of the algorithm gradient_ascent, whose steps and epsilon are varied; by default
        10 steps of a quarter of epsilon on the exact gradient of Dice.
    epsilon
        Largest change of a voxel, in --unit.
    unit
        HU, or intensity for volumes without a physical unit.
    valid
        Lowest and highest value that a perturbed volume may hold; for HU -100 and 240 by default, for intensity no
        range.
    json
        File for the findings as JSON.
    seed
        Of everything random.
    """
    from robust3d.benchmarks.diagnostics.exam import DEFAULT_ATTACK, Exam
    from robust3d.benchmarks.diagnostics.registry import cost
    from robust3d.foundation.allocator import keep_freed_memory
    from robust3d.foundation.collections import Collections
    from robust3d.foundation.files import write_text
    from robust3d.report.diagnosis import findings_json, findings_table, tally
    from robust3d.segment.placed import placed
    from robust3d.threat.model import ThreatModel
    from robust3d.zoo.load import load_model

    if image and case_count is not None:
        raise InputError("--case-count counts phantoms; leave it out with --image")
    if bool(image) != (label is not None):
        raise InputError("give --image and --label together, or neither for a phantom")
    keep_freed_memory()
    collections = Collections.open(collection)
    if valid is None and unit == "HU":
        valid = (-100.0, 240.0)
    threat = ThreatModel(epsilon=epsilon, unit=unit, valid=valid)
    chosen = DEFAULT_ATTACK if attack is None else _ascent(attack, collections)
    pipeline = load_model(model, device=device, collections=collections)
    chosen.check(pipeline.classes, threat)
    count = 1 if image or case_count is None else case_count
    console, messages = Console(highlight=False), Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        # A log has no width of its own, and 80 columns would break every name.
        console.width = 160
    examined = []
    for number, case in enumerate(_cases(image, label, pipeline.classes, count)):
        exam = Exam(placed(pipeline, case), case, threat, chosen, seed)
        if number == 0:
            gradients, predictions = cost(chosen)
            messages.print(
                f"{count} case{'' if count == 1 else 's'}, each at most {gradients} gradients and {predictions} "
                "predictions of the whole volume"
            )
        findings = _examined(exam)
        examined.append((exam, findings))
        console.print(findings_table(findings, f"{model} on {case.name}, {chosen.name} at {epsilon:g} {unit}"))
        console.print(f"{case.name}: {tally(findings)}", markup=False)
    if json is not None:
        content = findings_json(model, examined)
        write_text(json, encoder.dumps(content, indent=2, allow_nan=False) + "\n")
        console.print(f"saved {json}", markup=False, soft_wrap=True)


def _examined(exam: Exam) -> list[Finding]:
    from robust3d.benchmarks.diagnostics.registry import CHECKS, examine
    from robust3d.cli.progress import progress_bar

    with progress_bar("checks") as bar:
        task = bar.add_task(exam.volume.name, total=len(CHECKS))
        return examine(exam, lambda finding: bar.update(task, advance=1))


def _cases(image: tuple[Path, ...], label: Path | None, classes: int, count: int) -> Iterator[Volume]:
    """Yield the given case, or phantom test cases."""
    if image:
        from robust3d.volume.nifti import read_volume

        yield read_volume(image, label, classes=range(classes))
        return
    from robust3d.data.phantoms import PhantomDataset

    dataset = PhantomDataset("test", count)
    for name in dataset.names:
        yield dataset.load(name)


def _ascent(name: str, collections: Collections) -> GradientAscent:
    from robust3d.attacks.ascent import GradientAscent
    from robust3d.attacks.cards import load_attack

    attack = load_attack(name, collections=collections)
    if not isinstance(attack, GradientAscent):
        raise InputError(
            f"attack {name} is not of the algorithm gradient_ascent, whose steps can be varied; "
            "give one that is, such as ifgsm or pgd"
        )
    return attack
