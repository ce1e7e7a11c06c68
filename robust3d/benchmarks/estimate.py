# SPDX-License-Identifier: Apache-2.0
"""How long a benchmark will take and how much memory: the windows that it needs, times a probe of this device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch

from robust3d.attacks.attack import Attack
from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.diagnostics.stages import segmenters
from robust3d.benchmarks.rehearsal import PREDICT, Request, rehearse
from robust3d.benchmarks.run import Benchmark, Plan
from robust3d.benchmarks.store import Store
from robust3d.benchmarks.workload import spent, windows_of
from robust3d.foundation.errors import InputError
from robust3d.foundation.memory import is_out_of_memory
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.probe import Speed, probe
from robust3d.segment.supply import buffer_bytes
from robust3d.volume.volume import Volume

PROBE_SECONDS = 5.0
"""Time that a model is probed for."""

METHOD = (
    "Windows are counted on the case {case}, and what an attack asks for by a rehearsal; a window takes the time "
    "measured in a probe of about 5 seconds a model. Assumed: all cases are like that one, the box of the fine stage "
    "is that of the label, windows chosen by their slope are as many as on the phantoms (on larger volumes fewer), no "
    "attack ends early. Not counted: loading, metrics, work on whole volumes. Memory: volumes and one window batch, "
    "without the program itself."
)
"""How the figures come about; ``case`` is a name."""


@dataclass(frozen=True)
class Row:
    """The unfinished cells of one model and attack.

    Parameters
    ----------
    model, attack : str
        Names.
    cells : int
        Cells to measure.
    windows : float
        Windows of all of them that go through the network, forward only or forward and back.
    seconds : float
        Time of all of them.
    """

    model: str
    attack: str
    cells: int
    windows: float
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """Rows of all models and attacks with unfinished cells; ``memory`` in bytes, of the largest model."""

    rows: tuple[Row, ...]
    finished: int
    memory: int
    case: str

    @property
    def seconds(self) -> float:
        """Time of all cells."""
        return sum(row.seconds for row in self.rows)

    @property
    def cells(self) -> int:
        """Cells to measure."""
        return sum(row.cells for row in self.rows)


def estimate(
    benchmark: Benchmark,
    plan: Plan,
    store: Store,
    *,
    places: Sequence[int] | None = None,
    models: Sequence[str] | None = None,
) -> Estimate:
    """Estimate what is left of a benchmark.

    The cases are not read, but for the first: a case is taken to be the one that was measured under its name.

    Parameters
    ----------
    benchmark : Benchmark
        What will run.
    plan : Plan
        Its plan.
    store : Store
        Finished cells.
    places : sequence of int, optional
        Places in the plan to count; all by default.
    models : sequence of str, optional
        Models to load and probe; others are taken to be like the one before. All by default.

    Raises
    ------
    InputError
        If no case can be read, or the memory of the device is too small for a window.
    """
    done = store.finished()
    chosen = range(len(plan.cells)) if places is None else places
    volume = _first_case(benchmark)
    rows: list[Row] = []
    finished = memory = 0
    pipeline: Pipeline | None = None
    speeds: list[Speed] = []
    for model in benchmark.models:
        probed = models is None or model in models
        if pipeline is None or probed:
            pipeline, speeds = benchmark.load(benchmark.member(model, volume.name).name), []
        own = [place for place in chosen if plan.cells[place].model == model]
        left = Counter(plan.cells[place].attack_name for place in own if plan.tickets[place] not in done)
        finished += len(own) - left.total()
        if left and not speeds:
            speeds = _speeds(pipeline, model)
        for attack in (None, *benchmark.attacks):
            name = CLEAN if attack is None else attack.name
            if left[name]:
                windows, seconds = _one_cell(benchmark, attack, pipeline, volume, speeds)
                rows.append(Row(model, name, left[name], left[name] * windows, left[name] * seconds))
        if speeds:
            memory = max(memory, _memory(pipeline, volume, speeds))
    return Estimate(tuple(rows), finished, memory, volume.name)


def _first_case(benchmark: Benchmark) -> Volume:
    """Return the first case that can be read; a run records the others as failed."""
    for name in benchmark.dataset.names:
        with suppress(InputError):
            return benchmark.dataset.load(name)
    raise InputError(f"no case of benchmark {benchmark.name} can be read; see robust3d run for the reason of each")


def _speeds(pipeline: Pipeline, model: str) -> list[Speed]:
    """Return the speed of each stage, and the device's memory as it was."""
    try:
        return [probe(stage, PROBE_SECONDS / pipeline.stages) for stage in segmenters(pipeline)]
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    finally:
        if pipeline.device.type == "cuda":
            torch.cuda.empty_cache()
    # Outside the handler, whose traceback holds the activations.
    raise InputError(
        f"{model} cannot be probed: out of memory on {pipeline.device}; free some of it, or choose another --device"
    )


def _one_cell(
    benchmark: Benchmark, attack: Attack | None, pipeline: Pipeline, volume: Volume, speeds: list[Speed]
) -> tuple[float, float]:
    """Return windows and seconds of one cell."""
    asked: Counter[Request] = Counter()
    if attack is not None:
        asked = rehearse(
            attack,
            benchmark.threat,
            classes=pipeline.classes,
            stages=pipeline.stages,
            channels=volume.channels,
        )
    # The evaluation of the result.
    asked[PREDICT] += 1
    stages = spent(asked, windows_of(pipeline, volume))
    seconds = sum(
        forward * speed.forward + gradient * speed.gradient
        for (forward, gradient), speed in zip(stages, speeds, strict=True)
    )
    return sum(map(sum, stages)), seconds


def _memory(pipeline: Pipeline, volume: Volume, speeds: list[Speed]) -> int:
    # Kept activations, and about as much again for the gradients that flow back through them.
    return buffer_bytes(volume.shape, pipeline.classes, volume.channels) + 2 * max(
        speed.batch_bytes for speed in speeds
    )
