# SPDX-License-Identifier: Apache-2.0
"""``robust3d data phantom``, ``robust3d data check`` and ``robust3d data fetch``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from robust3d.cli.options import Collection, Out


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


def check(
    target: str,
    *,
    root: Path | None = None,
    layout: str | None = None,
    headers: bool = False,
    collection: Collection = (),
) -> None:
    """List the labelled cases of a folder, or everything that is wrong with them (exit code 2).

    Parameters
    ----------
    target
        Folder as --data takes it; with --root, a benchmark.
    root
        Folder that should hold the cases of the benchmark: those of its split, with its classes, as published.
    layout
        Name of its layout; by default the one that recognises it.
    headers
        Look at the headers alone, and leave out the voxels (values that are not finite, classes that are unknown).
    """
    from robust3d.cli.progress import progress_bar
    from robust3d.data.layouts.survey import channel_problems, header_problems, survey, voxel_problems
    from robust3d.foundation.collections import Collections
    from robust3d.foundation.errors import InputError
    from robust3d.foundation.text import printable

    if root is not None:
        if layout is not None:
            raise InputError("--layout has no effect with --root: a benchmark finds the layout itself; leave it out")
        _check_card(target, root, headers=headers, collection=collection)
        return
    if collection:
        raise InputError("--collection has no effect without --root: it holds benchmarks; leave it out, or add --root")
    console = Console(highlight=False, soft_wrap=True)
    folder = Path(target)
    if not folder.exists() and target in Collections.open().entries("benchmarks"):
        raise InputError(f"{target} is a benchmark and no folder; name the folder of its cases with --root")
    found, listing, problems = survey(folder, layout)
    with progress_bar("cases") as bar:
        task = bar.add_task("checking cases", total=len(listing.entries))
        for entry in listing.entries:
            wrong = header_problems(found, [entry])
            problems += wrong or ([] if headers else voxel_problems(found, listing, entry))
            bar.advance(task)
    problems = problems or channel_problems(found, listing.entries)
    _refuse(console, problems, f"{folder} (layout {found.name})")
    console.print(f"{folder}: layout {found.name}, {len(listing.entries)} labelled cases", markup=False)
    channels = found.channels(listing.entries[0])
    if channels > 1:
        console.print(f"channels: {channels}", markup=False)
    names = listing.labels or {}
    if names:
        console.print(
            "labels: " + ", ".join(f"{value} {printable(name)}" for name, value in names.items()), markup=False
        )
    for entry in listing.entries:
        # A list of pairs may name files elsewhere.
        image = entry.image.relative_to(folder) if entry.image.is_relative_to(folder) else entry.image
        console.print(f"{entry.name}  {image}", markup=False)


def _check_card(name: str, root: Path, *, headers: bool, collection: Collection) -> None:
    """Check that a folder holds the cases of a benchmark."""
    from robust3d.benchmarks.card import read_benchmark_card
    from robust3d.cli.progress import progress_bar
    from robust3d.foundation.collections import Collections
    from robust3d.foundation.errors import InputError

    collections = Collections.open(collection)
    card = read_benchmark_card(name, collections)
    console = Console(highlight=False, soft_wrap=True)
    if card.data.source != "folder":
        raise InputError(f"benchmark {name} generates its cases and needs no folder; leave out --root {root}")
    if not root.exists():
        source = "the documentation of its data" if card.origin is None else card.origin.tell()
        fetch = "" if card.download is None else f"; or call robust3d data fetch {name}"
        raise InputError(f"folder {root} is not there; the data of {name}: {source}{fetch}")
    dataset = card.dataset(str(root), collections)
    problems: list[str] = []
    with progress_bar("cases") as bar:
        task = bar.add_task("checking cases", total=len(dataset.names))
        for case in [] if headers else dataset.names:
            try:
                volume = dataset.load(case)
            except InputError as error:
                problems.append(str(error))
            else:
                problems += card.origin.problems(volume) if card.origin is not None else []
            bar.advance(task)
    _refuse(console, problems, f"{root} for benchmark {name}")
    rest = "; voxels, slices and unit were not looked at" if headers else ""
    console.print(f"{root}: {len(dataset.names)} test cases of benchmark {name}{rest}", markup=False)
    if card.origin is not None:
        known = f", {card.origin.labelled} labelled cases" if card.origin.labelled else ""
        console.print(f"published: {card.origin.tell()}{known}", markup=False)


def _refuse(console: Console, problems: Sequence[str], what: str) -> None:
    """List problems and raise an error that counts them, if there are any."""
    from robust3d.foundation.errors import InputError
    from robust3d.foundation.text import printable

    for problem in problems:
        console.print(f"- {printable(problem)}", markup=False)
    if problems:
        raise InputError(f"{what} has {len(problems)} problems, listed above")


def fetch(card: str, *, out: Out, collection: Collection = ()) -> None:
    """Download the cases of a benchmark into OUT, from the address and with the checksum that its card names.

    Parameters
    ----------
    card
        Name of a benchmark, or a path to its card.
    """
    from robust3d.benchmarks.card import read_benchmark_card
    from robust3d.data.download import fetch as fetch_archive
    from robust3d.foundation.collections import Collections
    from robust3d.foundation.errors import InputError

    download = read_benchmark_card(card, Collections.open(collection)).download
    if download is None:
        raise InputError(
            f"benchmark {card} names no public download; its reference and docs/data.md tell where its data are"
        )
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{download.url}, about {download.size_mb} MB, licence {download.licence}", markup=False)
    folder = fetch_archive(download, out)
    console.print(f"{folder} is there; look at it with: robust3d data check {folder}", markup=False)
