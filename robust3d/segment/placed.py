# SPDX-License-Identifier: Apache-2.0
"""Models with a grid of their own learn where the volume lies; all others take it as it is."""

from __future__ import annotations

from robust3d.segment.pipeline import Pipeline
from robust3d.segment.resampled import Resampled
from robust3d.volume.volume import Volume


def placed(pipeline: Pipeline, volume: Volume) -> Pipeline:
    """Return the pipeline for volumes with the axes and spacing of ``volume``; most are for all."""
    return pipeline.place(volume) if isinstance(pipeline, Resampled) else pipeline
