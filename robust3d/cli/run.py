# SPDX-License-Identifier: Apache-2.0
"""``robust3d run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console

from robust3d.cli.options import Collection, Device, Out, Precision, Track

if TYPE_CHECKING:
    from robust3d.segment.pipeline import Pipeline


def run(
    card: str,
    *,
    out: Out,
    model: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    attack: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    epsilon: float | None = None,
    seed: int | None = None,
    storage: Literal["float32", "int16"] | None = None,
    data: Path | None = None,
    device: Device = "auto",
    precision: Precision | None = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    collection: Collection = (),
    track: Track = (),
) -> None:
    """Run a benchmark and show its leaderboard; finished cells in --out are kept and not computed again.

    Parameters
    ----------
    card
        Name of a benchmark, or a path to its card.
    model
        Models instead of the card's; repeatable.
    attack
        Attacks instead of the card's; repeatable. ATTACK@MODEL is crafted on MODEL and evaluated on each (transfer).
    epsilon
        Epsilon instead of the card's, in the card's unit.
    seed
        Seed instead of the card's.
    storage
        What a perturbed volume can hold, instead of the card's: int16 lets attacks move in whole numbers only.
    data
        Folder with the test cases in any layout that robust3d data check knows, for cards that do not generate them.
    dry_run
        Only tell how many cells and windows are left, and about how much time and memory they take on this device.
    """
    from functools import lru_cache

    from robust3d.benchmarks.attacks import find_attack
    from robust3d.benchmarks.card import read_benchmark_card
    from robust3d.benchmarks.comparison import compare_attacks
    from robust3d.benchmarks.diagnostics.report import flags_by_model, read_reports
    from robust3d.benchmarks.estimate import METHOD, estimate
    from robust3d.benchmarks.leaderboard import leaderboard
    from robust3d.benchmarks.run import Benchmark
    from robust3d.benchmarks.store import Store
    from robust3d.cli.progress import announce, cell_progress
    from robust3d.foundation.allocator import keep_freed_memory
    from robust3d.foundation.collections import Collections
    from robust3d.foundation.errors import InputError
    from robust3d.report.estimate import estimate_line, estimate_table
    from robust3d.report.tables import console_table, write_tables
    from robust3d.report.tracking.open import open_tracker
    from robust3d.report.tracking.runs import track_cell, track_leaderboard, track_settings
    from robust3d.zoo.load import check_model, load_model
    from robust3d.zoo.members import Members

    keep_freed_memory()
    collections = Collections.open(collection)
    settings = read_benchmark_card(card, collections)
    about = settings.benchmark

    @lru_cache(maxsize=1)
    def load(name: str) -> Pipeline:
        return load_model(name, device=device, precision=precision or about.precision, collections=collections)

    benchmark = Benchmark(
        name=about.name,
        models=model or about.models,
        attacks=[find_attack(name, load, collections) for name in attack or about.attacks],
        dataset=settings.dataset(None if data is None else str(data), collections),
        threat=settings.threat.build(epsilon=epsilon, storage=storage),
        seed=about.seed if seed is None else seed,
        load=load,
        classes=lambda name: check_model(name, collections),
        member=Members(collections),
    )
    store = Store(out)
    if dry_run:
        benchmark.check()
        expected = estimate(benchmark, store)
        console = Console(highlight=False, soft_wrap=True)
        console.print(estimate_table(expected, about.title))
        console.print(f"{estimate_line(expected)}. {METHOD.format(case=expected.case)}", markup=False)
        return
    # Before anything is computed, since a broken report is an error.
    reports = read_reports(out)
    announce(benchmark, store)
    failures: list[str] = []
    with open_tracker(track, out, name=about.name) as tracker, cell_progress(benchmark.size) as progress:
        track_settings(tracker, benchmark)

        def report(cell: Any, record: dict[str, Any] | None, stored: bool) -> None:
            if record is None:
                failures.append(f"{cell.model}, {cell.attack_name}, {cell.case}")
            else:
                track_cell(tracker, benchmark, cell, record)
            progress(f"{cell.model}  {cell.case}  {cell.attack_name}", stored)

        records = benchmark.run(store, report)
        if failures and not records:
            raise InputError(f"every cell failed, the first: {failures[0]}; the reasons are in {out / 'failed'}")
        names = [one.name for one in benchmark.attacks]
        board = leaderboard(records, benchmark.models, names)
        comparison = compare_attacks(records, benchmark.models, names)
        doctor = flags_by_model(reports, records)
        write_tables(board, comparison, records, benchmark.threat, about.title, out, doctor=doctor)
        track_leaderboard(tracker, board, out)
    Console().print(console_table(board, benchmark.threat, about.title, doctor=doctor))
    if failures:
        raise InputError(
            f"{len(failures)} of {benchmark.size} cells failed, the first: {failures[0]}; "
            f"the reasons are in {out / 'failed'}"
        )
