# SPDX-License-Identifier: Apache-2.0
"""The clean prediction, computed once for all that ask for it: clean cell, attacks that start from it, diagnostics."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.foundation.digest import digest_arrays, digest_json
from robust3d.segment.cascade import CoarseToFine
from robust3d.segment.cost import Cost, add_cost, counting
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.prediction import Prediction
from robust3d.segment.segmenter import Segmenter


@dataclass(frozen=True)
class _Kept:
    pipeline: weakref.ref[Pipeline]
    key: str
    prediction: Prediction
    cost: Cost


_kept: list[_Kept] = []
"""At most one: that of the case at hand."""


def predict_clean(pipeline: Pipeline, image: NDArray[Any] | Tensor) -> Prediction:
    """Predict the clean volume of a case and keep the result, until that of another one takes its place."""
    found = _find(pipeline, image)
    if found is not None:
        return _again(found)
    with counting() as cost:
        prediction = pipeline.predict(image)
    for mask in (prediction.mask, prediction.raw):
        mask.flags.writeable = False
    _kept[:] = [_Kept(weakref.ref(pipeline), _key(pipeline, image), prediction, cost)]
    return prediction


def predict(pipeline: Pipeline, image: NDArray[Any] | Tensor) -> Prediction:
    """Predict a volume, or give the clean prediction kept if it has the content of the clean one.

    For predictions within an attack; what a result reports is always computed. Contents are compared as the network
    sees them, after truncation. Windows count as if they were computed, so that no figure depends on what is kept.
    """
    found = _find(pipeline, image)
    return pipeline.predict(image) if found is None else _again(found)


def _find(pipeline: Pipeline, image: NDArray[Any] | Tensor) -> _Kept | None:
    # Of another pipeline none is kept, and so nothing has to be hashed.
    if not _kept or _kept[0].pipeline() is not pipeline or _kept[0].key != _key(pipeline, image):
        return None
    return _kept[0]


def _again(found: _Kept) -> Prediction:
    add_cost(found.cost)
    return found.prediction


def _key(pipeline: Pipeline, image: NDArray[Any] | Tensor) -> str:
    """Return the identity of weights, settings and content, truncated where the whole pipeline truncates alike."""
    tensor = image.detach() if isinstance(image, Tensor) else torch.from_numpy(np.ascontiguousarray(image))
    stages = (pipeline.coarse, pipeline.fine) if isinstance(pipeline, CoarseToFine) else (pipeline,)
    schemes = {one.intensity.limits: one.intensity for one in stages if isinstance(one, Segmenter)}
    if len(schemes) == 1:
        tensor = next(iter(schemes.values())).truncate(tensor)
    return digest_json([pipeline.weights_sha256, pipeline.settings(), digest_arrays(tensor.cpu().numpy())])
