# SPDX-License-Identifier: Apache-2.0
"""MONAI bundles: network, weights, inferer and intensity transforms read from a folder, as data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from robust3d.foundation.digest import digest_file
from robust3d.foundation.errors import InputError
from robust3d.networks.monai import PREFIX, build_monai
from robust3d.zoo.formats.bundle_config import BundleConfig
from robust3d.zoo.formats.deployed import Deployed, Deployment, Source
from robust3d.zoo.formats.inferer import read_inferer
from robust3d.zoo.formats.locate import BUNDLE_CONFIG
from robust3d.zoo.formats.state_dict import load_state
from robust3d.zoo.formats.torchscript import load_program
from robust3d.zoo.formats.transforms import Step, compose_intensity, grid_wanted, is_neutral, known_transform

_WEIGHTS = ("models/model.safetensors", "models/model.pt")
_PROGRAM = "models/model.ts"
_ENDS = ("in_channels", "out_channels")


def read_bundle(source: Source) -> Deployed:
    """Read ``configs/inference.json`` and ``models/model.pt``, or ``models/model.ts`` where there is no such file.

    A card's sections inference and intensity, where it has them, replace what the configuration says.
    """
    config = BundleConfig(source.path / BUNDLE_CONFIG)
    weights = next((source.path / name for name in _WEIGHTS if (source.path / name).is_file()), None)
    if weights is not None:
        channels, classes, name, options = _definition(config)
        deployment = _deployment(source, config, channels)
        network = build_monai(name, classes=classes, options=options, channels=channels)
        load_state(network, weights)
        _check_sigmoid(config, classes)
        return Deployed(network, deployment, {"name": name, "classes": classes, "options": options})
    program = source.path / _PROGRAM
    if not program.is_file():
        raise InputError(f"bundle {source.path} holds none of the weight files {', '.join((*_WEIGHTS, _PROGRAM))}")
    source.check_program()
    deployment = _deployment(source, config, 1 if source.card is None else source.card.network.channels)
    module: nn.Module = load_program(program)
    return Deployed(module, deployment, {"format": "monai-bundle torchscript"}, weights_sha256=digest_file(program))


def _deployment(source: Source, config: BundleConfig, channels: int) -> Deployment:
    own = None if source.card is None else Deployment.of(source.card)
    if own is not None:
        return replace(own, channels=channels)
    if source.card is not None and (source.card.inference is not None or source.card.intensity is not None):
        raise InputError(f"the card of {source.path} needs both sections inference and intensity, or neither")
    target, raw = config.component(config.value("inferer"), "inferer")
    settings = {
        key: config.resolved(value, f"inferer::{key}")
        for key, value in raw.items()
        # Where MONAI computes is no matter of the deployment, and mostly an expression.
        if key not in ("device", "sw_device")
    }
    steps = list(_steps(config))
    where = f"{config.path}, preprocessing"
    wanted = grid_wanted(steps)
    if wanted:
        warnings.warn(
            f"bundle {source.path} expects volumes with {wanted}; robust3d takes voxels as they are in the file, so "
            "give it volumes resampled so",
            stacklevel=3,
        )
    deployment = read_inferer(
        target.rsplit(".", 1)[-1],
        settings,
        intensity=compose_intensity(steps, where, channels),
        outputs="logits" if source.card is None else source.card.model.outputs,
        where=f"{config.path}, inferer",
    )
    return replace(deployment, channels=channels)


def _definition(config: BundleConfig) -> tuple[int, int, str, dict[str, Any]]:
    """Return input channels, output channels, and the network's name and options."""
    key = "network_def" if "network_def" in config else "network"
    target, raw = config.component(config.value(key), key)
    options = {one: config.resolved(value, f"{key}::{one}") for one, value in raw.items()}
    dimensions = options.pop("spatial_dims", None)
    if dimensions != 3:
        raise InputError(f"{config.path}: {key}::spatial_dims is {dimensions}, robust3d needs 3")
    channels, classes = (_count(options.pop(one, None), f"{config.path}: {key}::{one}") for one in _ENDS)
    module, _, name = target.rpartition(".")
    if module and not module.startswith("monai.networks"):
        raise InputError(
            f"{config.path}: {key} is {target!r}, code outside MONAI, which a bundle cannot bring; "
            "use a card with the format 'factory' in a collection of yours"
        )
    return channels, classes, PREFIX + name, options


def _count(value: Any, what: str) -> int:
    if type(value) is not int or value < 1:
        raise InputError(f"{what} is {value!r}; it must be a number of channels")
    return value


def _steps(config: BundleConfig) -> Iterator[Step]:
    if "preprocessing" not in config:
        return
    key = "preprocessing"
    target, raw = config.component(config.value(key), key)
    single = target.rsplit(".", 1)[-1] != "Compose"
    transforms = [config.value(key)] if single else config.resolved(raw.get("transforms", []), key, deep=False)
    for index, transform in enumerate(transforms):
        place = f"{key}::transforms::{index}"
        if isinstance(transform, dict) and transform.get("_disabled_") is True:
            continue
        target, values = config.component(transform, place)
        name = known_transform(target)
        if name is None:
            raise InputError(
                f"{config.path}: {place} is {target}, which robust3d does not reproduce; if the model does without, "
                "write a card with the sections inference and intensity (docs/models.md)"
            )
        # Neutral transforms may hold expressions, such as a device.
        read = {} if is_neutral(name) else {one: value for one, value in values.items() if one != "keys"}
        yield name, {one: config.resolved(value, f"{place}::{one}") for one, value in read.items()}


def _check_sigmoid(config: BundleConfig, classes: int) -> None:
    """Refuse overlapping regions; their channels are no classes."""
    if classes == 1 or "postprocessing" not in config:
        return
    _, raw = config.component(config.value("postprocessing"), "postprocessing")
    transforms = raw.get("transforms", [])
    for transform in transforms if isinstance(transforms, list) else []:
        if isinstance(transform, dict) and transform.get("sigmoid") is True:
            raise InputError(
                f"{config.path}: {classes} channels end in sigmoids, overlapping regions; robust3d segments softmax "
                "classes or one sigmoid"
            )
