# SPDX-License-Identifier: Apache-2.0
"""From a model's name to a pipeline."""

from __future__ import annotations

from pathlib import Path

import torch

from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.networks.folding import channels_last, inference_copy
from robust3d.networks.registry import build_deployed
from robust3d.networks.weights import load_weights
from robust3d.segment.cascade import CoarseToFine
from robust3d.segment.grid import parse_grid
from robust3d.segment.intensity import Intensity, hu_window, zscore
from robust3d.segment.precision import Precision
from robust3d.segment.resampled import Resampled
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.transform import BitDepth, InputTransform, Smoothing
from robust3d.segment.transformed import Transformed
from robust3d.zoo.card import BitDepthCard, IntensityCard, ModelCard, SmoothingCard, StageCard
from robust3d.zoo.formats.locate import is_foreign, model_path
from robust3d.zoo.formats.registry import load_foreign

FOLD = "fold-"
"""How the folders of the folds of a cross-validated model begin."""


def load_model(
    name: str, *, device: str = "auto", precision: Precision = "exact", collections: Collections | None = None
) -> Segmenter | CoarseToFine | Transformed | Resampled:
    """Return a model of the zoo, ready to predict and to attack.

    Parameters
    ----------
    name : str
        Such as ``"resdsn-c2f-natural"``, ``"NAME/fold-1"`` for one fold of a cross-validated model, or
        ``"resdsn-c2f-natural/coarse"`` for one stage alone; the fine stage alone has the component filter of the
        cascade. Or a path to a model of another format: a MONAI bundle, a results folder of nnU-Net, a card, a model
        file; see docs/models.md.
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``..., or ``"auto"``: CUDA where there is a device; see
        :func:`find_device`.
    precision : str
        ``"exact"``, or ``"fast"`` gradients; see :meth:`Segmenter.from_network`.
    collections : Collections, optional
        Where to look; the current folder and the built-in zoo by default.

    Raises
    ------
    InputError
        If the model is unknown, its card is wrong, a weight file's hash differs, or the device is not there.
    """
    collections = collections or Collections.open()
    given = model_path(name, collections)
    model, stage = (name, "") if given else split_name(name)
    path = given or collections.find("zoo", model)
    place = find_device(device)
    if is_foreign(path):
        if stage:
            raise InputError(f"model {model!r} has no stage {stage!r}; a model of another format is one stage")
        programs = given is not None or collections.is_named(path)
        return load_foreign(path, place, precision, programs=programs, code=collections.is_named(path))
    card = read_card(path, ModelCard)
    pipeline = _pipeline(card, stage, name, path.parent, place, precision)
    return pipeline if card.transform is None else Transformed(pipeline, _transform(card, card.transform))


def split_name(name: str) -> tuple[str, str]:
    """Return entry of the zoo and stage of ``MODEL``, ``MODEL/STAGE``, ``MODEL/fold-I`` or ``MODEL/fold-I/STAGE``."""
    model, _, rest = name.partition("/")
    if not rest.startswith(FOLD):
        return model, rest
    fold, _, stage = rest.partition("/")
    return f"{model}/{fold}", stage


def weight_file(model: str, stage: str, collections: Collections) -> Path:
    """Return the weight file of one stage of a model, for training that starts from it."""
    path = collections.find("zoo", model)
    return _stage(read_card(path, ModelCard), stage, f"{model}/{stage}").weight_file(path.parent)


def find_device(name: str) -> torch.device:
    """Return a device by name; choosing CUDA makes it reproducible, see :func:`make_cuda_reproducible`.

    Raises
    ------
    InputError
        If it is unknown or not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise InputError(f"device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {name} is not there: {torch.cuda.device_count()} CUDA devices; use cpu or auto")
    if device.type == "cuda":
        make_cuda_reproducible()
    return device


def make_cuda_reproducible() -> None:
    """Let cuDNN choose only deterministic convolutions, the same in every run, and compute in whole float32.

    By default cuDNN may take algorithms that add in varying order, and TensorFloat-32, which rounds the inputs of a
    convolution to 10 bits: sign attacks turn either into another perturbation, and a CPU would not find the same DSC.
    A setting of the whole process. It does not cover kernels other than those of cuDNN and matrix products.
    """
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def _stage(card: ModelCard, stage: str, name: str) -> StageCard:
    found = {"coarse": card.coarse, "fine": card.fine}.get(stage)
    if found is None:
        raise InputError(f"model {name!r} has no stage {stage!r}; it has coarse{' and fine' if card.fine else ''}")
    if stage == "fine" and card.cascade is not None:
        return found.model_copy(update={"min_component": card.cascade.min_component})
    return found


def _pipeline(
    card: ModelCard, stage: str, name: str, folder: Path, device: torch.device, precision: Precision
) -> Segmenter | CoarseToFine:
    """Return the stage, or the whole model without its input transform."""
    coarse = _segmenter(card, _stage(card, stage, name) if stage else card.coarse, folder, device, precision)
    if stage or card.fine is None or card.cascade is None:
        return coarse
    fine = _segmenter(card, card.fine, folder, device, precision)
    cascade = card.cascade
    return CoarseToFine(
        coarse=coarse, fine=fine, margin=cascade.margin, min_component=cascade.min_component, align=cascade.align
    )


def _transform(card: ModelCard, transform: SmoothingCard | BitDepthCard) -> InputTransform:
    low, high = card.intensity.low, card.intensity.high
    if low is None or high is None:
        raise InputError(f"model {card.model.name}: the section transform needs intensity.low and intensity.high")
    return (
        Smoothing(transform.sigma, low, high) if transform.kind == "smoothing" else BitDepth(transform.bits, low, high)
    )


def _intensity(card: IntensityCard) -> Intensity:
    return zscore() if card.low is None or card.high is None else hu_window(card.low, card.high)


def _segmenter(
    card: ModelCard, stage: StageCard, folder: Path, device: torch.device, precision: Precision
) -> Segmenter:
    network = build_deployed(card.network.name, **card.network.build_options())
    load_weights(network, stage.weight_file(folder), sha256=stage.sha256)
    return Segmenter.from_network(
        channels_last(inference_copy(network).to(device)),
        window=stage.window,
        grid=parse_grid(stage.grid),
        intensity=_intensity(card.intensity),
        fusion=stage.fusion,
        weighting=stage.weighting,
        min_component=stage.min_component,
        weights_sha256=stage.sha256,
        architecture=card.network.settings(),
        precision=precision,
        checks=False,
    )
