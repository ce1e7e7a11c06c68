# SPDX-License-Identifier: Apache-2.0
"""``robust3d attack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from robust3d.cli.options import Collection, Device, Epsilons, Images, Out, Precision


def attack(
    *,
    model: str,
    image: Images,
    label: Path,
    attack: str,
    out: Out,
    epsilon: Epsilons,
    unit: str = "HU",
    norm: Literal["linf", "l2"] = "linf",
    valid: Annotated[tuple[tuple[float, float], ...], Parameter(negative=())] = (),
    storage: Literal["float32", "int16"] = "float32",
    seed: int = 0,
    device: Device = "auto",
    precision: Precision = "exact",
    collection: Collection = (),
) -> None:
    """Attack one NIfTI volume; every figure is measured on the saved file, read back.

    Writes adversarial.nii.gz, prediction_clean.nii.gz, prediction_adversarial.nii.gz, result.json and panel.png.

    Parameters
    ----------
    model
        Name of a model, NAME/coarse for one stage, or a path: a MONAI bundle, a results folder of nnU-Net, a card
        (docs/models.md).
    label
        NIfTI label on the same grid.
    attack
        Name of an attack.
    unit
        Unit of epsilon: HU, or intensity for volumes without a physical unit; for the norm l2, RMS HU or RMS intensity.
    norm
        linf: the largest change of a voxel. l2: the root of the mean square change of a voxel.
    valid
        Lowest and highest value that the adversarial volume may hold; the clean volume is clipped to it first.
        For HU -100 and 240 by default, for intensity no range. Repeatable: one range a channel.
    storage
        int16 lets the attack itself move in whole numbers; float32 is rounded only when an integer file is saved.
    seed
        Seed of random starts.
    """
    import json

    from robust3d.attacks.cards import load_attack
    from robust3d.benchmarks.single import attack_file
    from robust3d.foundation.allocator import keep_freed_memory
    from robust3d.foundation.collections import Collections
    from robust3d.report.panel import save_panel
    from robust3d.segment.supply import check_channels
    from robust3d.threat.model import ThreatModel
    from robust3d.volume.channels import most_changed
    from robust3d.volume.nifti import read_volume
    from robust3d.zoo.load import load_model

    keep_freed_memory()
    collections = Collections.open(collection)
    ranges = valid or (((-100.0, 240.0),) if unit.endswith("HU") else None)
    threat = ThreatModel.build(norm=norm, epsilon=epsilon, unit=unit, valid=ranges, storage=storage)
    chosen = load_attack(attack, collections=collections)
    pipeline = load_model(model, device=device, precision=precision, collections=collections)
    chosen.check(pipeline.classes, threat)
    case = read_volume(image, label, classes=range(pipeline.classes))
    check_channels(case.channels, pipeline.channels, f"case {case.name}")
    threat.check_channels(case.channels)
    result = attack_file(pipeline, case, chosen, threat, seed=seed, out=out)
    before, after = (100 * result.figures[key] for key in ("dsc_clean", "dsc_adversarial"))
    number = most_changed(case.image, [result.adversarial.image])
    shown = case.channel(number)
    told = f", channel {number}" if case.channels > 1 else ""
    save_panel(
        shown,
        result.adversarial.channel(number),
        result.masks,
        out / "panel.png",
        window=(threat.spans * case.channels)[number]
        if ranges
        else (float(shown.image.min()), float(shown.image.max())),
        titles=(f"clean{told}, DSC {before:.1f} %", f"{attack} at {threat.bound} {unit}, DSC {after:.1f} %"),
    )
    console = Console()
    console.print_json(json.dumps({"model": model, **result.figures}))
    console.print(f"saved in {out}", markup=False, highlight=False)
