# SPDX-License-Identifier: Apache-2.0
"""How many windows of each stage a prediction or gradient of one case takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType

import torch

from robust3d.benchmarks.diagnostics.stages import behind_transforms, segmenters
from robust3d.benchmarks.rehearsal import PREDICT, Request
from robust3d.segment.cascade import CoarseToFine
from robust3d.segment.grid import overlap
from robust3d.segment.pipeline import Pipeline, windows_of_coarse
from robust3d.segment.resampled import Resampled
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.windows import WindowPlan
from robust3d.volume.labels import IGNORE
from robust3d.volume.volume import Label, Volume

CHOSEN = MappingProxyType({"influential": 0.9, "decisive": 0.8, "leading": 0.15})
"""Share of the windows taken to be chosen by their slope, as on the phantoms; on larger volumes they are fewer."""


@dataclass(frozen=True)
class StageWindows:
    """Windows of one stage over one case: of its grid, of these with foreground, and without overlap."""

    all: int
    skip_background: int
    tiling: int
    shared_pass: bool
    """Whether a ``window_mean`` gradient through all windows gives the prediction as well."""

    def chosen(self, windows: str) -> float:
        """Return how many windows an option of :meth:`Pipeline.loss_gradient` means."""
        if windows in CHOSEN:
            return CHOSEN[windows] * self.all
        return float({"all": self.all, "skip_background": self.skip_background, "tiling": self.tiling}[windows])


def windows_of(pipeline: Pipeline, volume: Volume) -> list[StageWindows]:
    """Return the windows of each stage over one case, the fine stage in the box of the label.

    Raises
    ------
    InputError
        If the pipeline is of a kind whose windows cannot be seen.
    """
    stages = segmenters(pipeline)
    model = behind_transforms(pipeline)
    label = model.label_on_grid(volume) if isinstance(model, Resampled) else volume.known_label()
    counted = [_count(stages[0], label)]
    if isinstance(model, CoarseToFine):
        box = model.box_around((label > 0) & (label != IGNORE))
        counted.append(StageWindows(0, 0, 0, True) if box is None else _count(model.fine, label[box]))
    return counted


def spent(requests: Counter[Request], stages: list[StageWindows]) -> list[tuple[float, float]]:
    """Return forward and gradient windows of each stage for what an attack asks for."""
    total = [[0.0, 0.0] for _ in stages]
    for request, times in requests.items():
        for stage, (forward, gradient) in enumerate(_one(request, stages)):
            total[stage][0] += times * forward
            total[stage][1] += times * gradient
    return [(forward, gradient) for forward, gradient in total]


def _one(request: Request, stages: list[StageWindows]) -> list[tuple[float, float]]:
    if request == PREDICT:
        return [(float(stage.all), 0.0) for stage in stages]
    attacked = {"coarse": [0], "fine": [1], "c2f": [0, 1]}[request.target] if len(stages) > 1 else [0]
    result = []
    for number, stage in enumerate(stages):
        windows = windows_of_coarse(request.windows) if attacked == [0, 1] and number == 0 else request.windows
        gradient = stage.chosen(windows) if number in attacked else 0.0
        forward = float(stage.all) if number in attacked and request.mode == "fused" else 0.0
        if number == 0 and 1 in attacked:
            # The box of the fine stage comes from a prediction of the coarse one.
            shared = 0 in attacked and (request.mode == "fused" or (request.windows == "all" and stage.shared_pass))
            forward += 0.0 if shared else stage.all
        result.append((forward, gradient))
    return result


def _count(stage: Segmenter, label: Label) -> StageWindows:
    first, second, third = label.shape
    plan = WindowPlan.of((first, second, third), stage.window, stage.grid)
    organ = plan.padded(torch.from_numpy((label > 0) & (label != IGNORE)), False)
    return StageWindows(
        all=len(plan.corners),
        skip_background=len(plan.only(organ).corners),
        tiling=len(WindowPlan.of(plan.shape, stage.window, overlap(0.0)).corners),
        shared_pass=stage.fast is None,
    )
