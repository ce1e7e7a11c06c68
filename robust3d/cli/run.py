# SPDX-License-Identifier: Apache-2.0
"""``robust3d run``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console

from robust3d.cli.options import Collection, Device, Out, Precision, Track

if TYPE_CHECKING:
    from robust3d.benchmarks.cell import Cell
    from robust3d.benchmarks.diagnostics.report import Report as Diagnosis
    from robust3d.benchmarks.request import RunRequest
    from robust3d.benchmarks.run import Benchmark, Plan
    from robust3d.benchmarks.scale.session import Report, Session
    from robust3d.benchmarks.scale.shard import Shard
    from robust3d.benchmarks.store import Store
    from robust3d.report.tracking.tracker import Tracker


def run(
    card: str,
    *,
    out: Out,
    model: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    attack: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    epsilon: Annotated[tuple[float, ...], Parameter(negative=())] = (),
    seed: int | None = None,
    storage: Literal["float32", "int16"] | None = None,
    data: Path | None = None,
    device: Device = "auto",
    precision: Precision | None = None,
    workers: int | None = None,
    shard: str | None = None,
    patience: float = 900.0,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    collection: Collection = (),
    track: Track = (),
) -> None:
    """Run a benchmark and show its leaderboard; finished cells in --out are kept and not computed again.

    Several calls may work on the same --out at once, on one machine or many.

    Parameters
    ----------
    card
        Name of a benchmark, or a path to its card.
    model
        Models instead of the card's; repeatable.
    attack
        Attacks instead of the card's; repeatable. ATTACK@MODEL is crafted on MODEL and evaluated on each (transfer).
    epsilon
        Epsilon instead of the card's, in the card's unit; repeatable: one a channel.
    seed
        Seed instead of the card's.
    storage
        What a perturbed volume can hold, instead of the card's: int16 lets attacks move in whole numbers only.
    data
        Folder with the test cases in any layout that robust3d data check knows, for cards that do not generate them.
    workers
        Processes that share the work, the cores and the GPUs of this machine; without it, this one does all.
    shard
        Part of the cells, i/n such as 2/4; the shard that finds the others finished writes the tables.
    patience
        Seconds, at least 10, in which a worker must put a window through a network; one that does not is ended and
        replaced.
    dry_run
        Only tell how many cells and windows are left, and about how much time and memory they take on this device;
        of one shard with --shard.
    """
    from robust3d.benchmarks.diagnostics.report import read_reports
    from robust3d.benchmarks.scale.processes import terminating_like_ctrl_c
    from robust3d.benchmarks.scale.session import run_benchmark
    from robust3d.benchmarks.scale.shard import Shard
    from robust3d.benchmarks.store import Store
    from robust3d.cli.progress import announce, cell_progress
    from robust3d.foundation.allocator import keep_freed_memory
    from robust3d.report.tracking.open import open_tracker
    from robust3d.report.tracking.runs import track_cell, track_settings

    keep_freed_memory()
    request = make_request(
        card=card,
        model=model,
        attack=attack,
        epsilon=epsilon,
        seed=seed,
        storage=storage,
        data=data,
        device=device,
        precision=precision,
        collection=collection,
    )
    store = Store(out)
    part = Shard() if shard is None else Shard.parse(shard)
    if dry_run:
        _estimate(request, store, part)
        return
    # Before anything is computed, since a broken report is an error.
    reports = read_reports(out)
    with ExitStack() as stack:
        stack.enter_context(terminating_like_ctrl_c())
        tracker = stack.enter_context(open_tracker(track, out, name=Path(card).stem))

        def started(benchmark: Benchmark, plan: Plan, places: range) -> Report:
            # Workers and shards share the work, and workers the device, which a probe would hold.
            if workers is None and shard is None:
                announce(benchmark, plan, store)
            track_settings(tracker, benchmark)
            progress = stack.enter_context(cell_progress(len(places)))

            def report(cell: Cell, record: dict[str, Any] | None, stored: bool) -> None:
                if record is not None:
                    track_cell(tracker, benchmark, cell, record)
                progress(f"{cell.model}  {cell.case}  {cell.attack_name}", stored)

            return report

        session = run_benchmark(request, store, shard=part, workers=workers, patience=patience, started=started)
        _publish(session, part, out, reports, tracker)


def make_request(
    *,
    card: str,
    model: tuple[str, ...] = (),
    attack: tuple[str, ...] = (),
    collection: tuple[Path, ...] = (),
    **others: Any,
) -> RunRequest:
    """Return what the options of ``robust3d run`` ask for."""
    from robust3d.benchmarks.request import RunRequest

    return RunRequest(card=card, models=model, attacks=attack, collections=collection, **others)


def _estimate(request: RunRequest, store: Store, shard: Shard) -> None:
    from robust3d.benchmarks.estimate import METHOD, estimate
    from robust3d.report.estimate import estimate_line, estimate_table

    benchmark = request.open()
    plan = benchmark.plan()
    expected = estimate(benchmark, plan, store, places=shard.places(len(plan.cells)))
    console = Console(highlight=False, soft_wrap=True)
    console.print(estimate_table(expected, benchmark.title))
    console.print(f"{estimate_line(expected)}. {METHOD.format(case=expected.case)}", markup=False)


def _publish(session: Session, shard: Shard, out: Path, reports: Sequence[Diagnosis], tracker: Tracker) -> None:
    from robust3d.benchmarks.comparison import compare_attacks
    from robust3d.benchmarks.diagnostics.flags import flags_by_model
    from robust3d.benchmarks.leaderboard import is_cross_validated, leaderboard
    from robust3d.foundation.errors import InputError
    from robust3d.report.tables import console_table, write_tables
    from robust3d.report.tracking.runs import track_leaderboard

    benchmark, failed = session.benchmark, session.failed
    first = f"{failed[0].model}, {failed[0].attack_name}, {failed[0].case}" if failed else ""
    if session.unfinished:
        Console(stderr=True).print(
            f"shard {shard} has ended; {session.unfinished} cells of other shards are not finished, the last shard "
            f"writes the tables; robust3d status {out} shows how far they are",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    elif failed and not session.records:
        raise InputError(f"every cell failed, the first: {first}; the reasons are in {out / 'failed'}")
    else:
        names = [one.name for one in benchmark.attacks]
        board = leaderboard(session.records, benchmark.models, names)
        comparison = compare_attacks(session.records, benchmark.models, names)
        doctor = flags_by_model(reports, session.records)
        write_tables(board, comparison, session.records, benchmark.threat, benchmark.title, out, doctor=doctor)
        track_leaderboard(tracker, board, out)
        extremes = is_cross_validated(session.records)
        Console().print(console_table(board, benchmark.threat, benchmark.title, doctor=doctor, extremes=extremes))
    if failed:
        size = len(benchmark.cells())
        raise InputError(
            f"{len(failed)} of {size} cells failed, the first: {first}; the reasons are in {out / 'failed'}"
        )
