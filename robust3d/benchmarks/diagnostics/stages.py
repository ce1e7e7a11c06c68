# SPDX-License-Identifier: Apache-2.0
"""The stages of a model apart, so that a cascade's box, which has no gradient, stays where it is."""

from __future__ import annotations

from dataclasses import dataclass

from robust3d.benchmarks.diagnostics.exam import Exam
from robust3d.foundation.errors import InputError
from robust3d.segment.cascade import CoarseToFine
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.prediction import Box
from robust3d.segment.resampled import Resampled
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.transformed import Transformed

_WHOLE: Box = (slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class Stage:
    """One stage and the part of the volume that it works on, with the clean volume's statistics."""

    pipeline: Pipeline
    box: Box


def stages(exam: Exam) -> tuple[Stage, ...]:
    """Return the stages of a cascade, the fine one in the box of the clean prediction, or the model itself."""
    if not isinstance(exam.frozen, CoarseToFine):
        return (Stage(exam.frozen, _WHOLE),)
    coarse, box = Stage(exam.frozen.coarse, _WHOLE), exam.prediction.box
    return (coarse,) if box is None else (coarse, Stage(exam.frozen.fine, box))


def behind_transforms(pipeline: Pipeline) -> Pipeline:
    """Return the model itself, without the input transforms before it; they leave the shape of a volume as it is."""
    while isinstance(pipeline, Transformed):
        pipeline = pipeline.pipeline
    return pipeline


def segmenters(pipeline: Pipeline) -> tuple[Segmenter, ...]:
    """Return the segmenters that a model is made of.

    Raises
    ------
    InputError
        If it is of another kind.
    """
    model = behind_transforms(pipeline)
    if isinstance(model, Segmenter):
        return (model,)
    if isinstance(model, CoarseToFine):
        return model.coarse, model.fine
    if isinstance(model, Resampled):
        return (model.model,)
    raise InputError(f"the windows of a {type(model).__name__} cannot be seen from outside")
