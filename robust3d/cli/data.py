# SPDX-License-Identifier: Apache-2.0
"""``robust3d data phantom``."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from robust3d.cli.options import Out


def phantom(
    *,
    out: Out,
    cases: int,
    split: Literal["train", "validation", "test"] = "train",
    shape: Annotated[tuple[int, int, int], Parameter(negative=())] = (112, 96, 80),
    spacing: Annotated[tuple[float, float, float], Parameter(negative=())] = (3.0, 3.0, 4.0),
    cyst: bool = False,
) -> None:
    """Write procedural abdominal CTs as an nnU-Net raw folder: imagesTr, labelsTr and dataset.json.

    Parameters
    ----------
    cases
        Number of cases; the same number of the same split is always the same patients.
    split
        Which patients: splits share none.
    shape
        Voxels along each axis.
    spacing
        Voxel size in mm.
    cyst
        Pathological variant with class 2, cyst.
    """
    from robust3d.cli.progress import progress_bar
    from robust3d.data.phantoms import PhantomDataset
    from robust3d.data.writing import write_folder

    dataset = PhantomDataset(split, cases, shape, spacing, cyst)
    labels = {"background": 0, "pancreas": 1} | ({"cyst": 2} if cyst else {})
    with progress_bar("cases") as bar:
        task = bar.add_task("phantom", total=cases)
        write_folder(dataset, out, name="PhantomPancreas", labels=labels, report=lambda _: bar.advance(task))
    Console(highlight=False).print(f"wrote {cases} cases to {out}", markup=False)
