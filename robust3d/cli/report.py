# SPDX-License-Identifier: Apache-2.0
"""``robust3d report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console

from robust3d.cli.options import Collection, Device
from robust3d.foundation.errors import InputError

if TYPE_CHECKING:
    from robust3d.segment.pipeline import Pipeline
    from robust3d.segment.precision import Precision


def report(
    folder: Path,
    *,
    out: Path | None = None,
    cases: int = 3,
    also: Annotated[tuple[Path, ...], Parameter(negative=())] = (),
    doctor: Annotated[tuple[Path, ...], Parameter(negative=())] = (),
    data: Path | None = None,
    device: Device = "auto",
    collection: Collection = (),
) -> None:
    """Write the results of a run as an HTML report that opens offline: open index.html in its folder.

    The volumes of the --cases most affected cases are computed anew, since a run keeps figures only; models, attacks
    and data are first checked to be those of the run.

    Parameters
    ----------
    folder
        Folder of the run, or its results.jsonl.
    out
        Folder of the report; report in that of the results by default. An earlier report there is replaced.
    cases
        Cases with a page, pictures and a 3D viewer of their own, those with the largest drop; 0 for none.
    also
        Run of the same benchmark at another epsilon, for the curve of DSC against epsilon; repeatable.
    doctor
        Findings of robust3d doctor --json, whose flags are shown beside the numbers, besides doctor*.json and doctor/
        in the folder of the run; repeatable.
    data
        Folder with the test cases in any layout that robust3d data check knows, for benchmarks that do not generate
        them.
    """
    from robust3d.benchmarks.diagnostics.flags import raised_flags
    from robust3d.benchmarks.diagnostics.report import read_report, read_reports
    from robust3d.benchmarks.replay import Replay
    from robust3d.benchmarks.results import read_results
    from robust3d.cli.progress import cell_progress
    from robust3d.foundation.allocator import keep_freed_memory
    from robust3d.foundation.collections import Collections
    from robust3d.foundation.folders import replacing_folder
    from robust3d.report.html.board import most_affected
    from robust3d.report.html.site import KIND, Sources, write_report
    from robust3d.zoo.load import load_model

    if cases < 0:
        raise InputError(f"--cases must be 0 or more, not {cases}")
    keep_freed_memory()
    collections = Collections.open(collection)
    results = read_results(folder)
    further = [read_results(one) for one in also]
    reports = [*read_reports(results.path.parent), *map(read_report, doctor)]
    for path, one in zip(doctor, reports[len(reports) - len(doctor) :], strict=True):
        if not any(one.model_sha256 in weights for weights in results.weights.values()):
            raise InputError(
                f"{path} examined {one.model} with weights {one.model_sha256}, which {results.path} does not hold; run "
                "robust3d doctor on a model of the results"
            )
    examined = {model: raised_flags(reports, weights) for model, weights in results.weights.items()}
    flags = {model: raised for model, raised in examined.items() if raised is not None}

    def load(name: str, precision: Precision) -> Pipeline:
        return load_model(name, device=device, precision=precision, collections=collections)

    target = out or results.path.parent / "report"
    with replacing_folder(target, KIND) as temporary:
        chosen = most_affected(results, cases)
        replay = Replay(results, collections, load, None if data is None else str(data)) if chosen else None
        sources = Sources(results, further, flags, collections, replay, chosen)
        total = sum(case in chosen for _, _, case in results.cells)
        with cell_progress(total) as progress:
            warnings = write_report(sources, temporary, lambda key: progress("  ".join(key), False))
    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    for warning in warnings:
        messages.print(f"warning: {warning}", style="yellow", markup=False)
    Console(highlight=False).print(f"wrote {target / 'index.html'}", markup=False, soft_wrap=True)
