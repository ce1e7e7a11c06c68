# SPDX-License-Identifier: Apache-2.0
"""``robust3d verify``."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from robust3d.cli.options import Collection, Device
from robust3d.foundation.errors import InputError

if TYPE_CHECKING:
    from robust3d.segment.pipeline import Pipeline
    from robust3d.segment.precision import Precision


def verify(
    folder: Path,
    *,
    cells: int = 3,
    seed: int = 0,
    data: Path | None = None,
    device: Device = "auto",
    collection: Collection = (),
) -> None:
    """Check that a finished run is what it says; exit code 0: it is, 1: all that is not is listed, 2: cannot begin.

    Computes every DSC from its counts and every key from its cell, hashes weight files and volumes anew, compares the
    lines of results.jsonl with the files in cells, and computes a random sample of cells again.

    Parameters
    ----------
    folder
        Folder of the run, or its results.jsonl.
    cells
        Cells to compute again; 0 for none.
    seed
        Of the draw of these cells.
    data
        Folder with the test cases, for benchmarks that do not generate them.
    """
    from robust3d.benchmarks.verify.verify import verify as verify_run
    from robust3d.cli.progress import cell_progress
    from robust3d.foundation.allocator import keep_freed_memory
    from robust3d.foundation.collections import Collections
    from robust3d.foundation.text import printable
    from robust3d.zoo.load import load_model

    for option, value in (("--cells", cells), ("--seed", seed)):
        if value < 0:
            raise InputError(f"{option} must be 0 or more, not {value}")
    keep_freed_memory()
    collections = Collections.open(collection)

    @cache
    def load(name: str, precision: Precision) -> Pipeline:
        return load_model(name, device=device, precision=precision, collections=collections)

    with cell_progress(cells) as progress:
        found = verify_run(
            folder,
            collections,
            load,
            data=None if data is None else str(data),
            cells=cells,
            seed=seed,
            report=lambda key: progress("  ".join(key), False),
        )
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{found.lines} lines and {found.files} cell files agree with themselves; hashed the weights of {found.models} "
        f"models and {found.volumes} volumes; computed {len(found.replayed)} cells again (seed {seed})",
        markup=False,
    )
    for problem in found.problems:
        console.print(f"- {printable(problem)}", markup=False)
    count = len(found.problems)
    console.print(f"failed: {count} problem{'s' * (count > 1)}" if count else "verified", markup=False)
    if found.problems:
        sys.exit(1)
