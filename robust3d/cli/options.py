# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

Collection = Annotated[
    tuple[Path, ...],
    Parameter(
        name="--collection",
        negative=(),
        help="Folder with your own attacks/, defenses/, benchmarks/ or zoo/; repeatable, searched first.",
    ),
]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or cuda:N.")]
Epsilons = Annotated[
    tuple[float, ...],
    Parameter(
        name="--epsilon",
        negative=(),
        help="Bound of the perturbation's norm in the threat model's unit; repeatable: one a channel, 0 for untouched.",
    ),
]
Images = Annotated[
    tuple[Path, ...],
    Parameter(
        name="--image",
        negative=(),
        help="NIfTI volume (.nii or .nii.gz), channels along a fourth axis; repeatable: one file a channel.",
    ),
]
Out = Annotated[Path, Parameter(help="Folder for the results; made if it does not exist.")]
Precision = Annotated[
    Literal["exact", "fast"],
    Parameter(help="fast: gradients in bfloat16 where the device has it; every DSC stays in the model's precision."),
]
Track = Annotated[
    tuple[Literal["tensorboard", "mlflow", "wandb"], ...],
    Parameter(name="--track", negative=(), help="Log to this tracker too; repeatable (docs/tracking.md)."),
]
