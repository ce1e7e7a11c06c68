# SPDX-License-Identifier: Apache-2.0
"""Networks by name, as cards call them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from robust3d.foundation.errors import InputError, nearest
from robust3d.networks.hed3d import HED3D
from robust3d.networks.mixedresnet import MixedResNet
from robust3d.networks.monai import PREFIX, build_monai
from robust3d.networks.resdsn import ResDSN
from robust3d.networks.unet3d import UNet3D
from robust3d.networks.vnet import VNet
from robust3d.networks.voxresnet import VoxResNet

TrainingLoss = Literal["ce", "dsc", "dice_ce"]
"""Cross entropy, soft Dice, or their sum."""

NETWORKS: dict[str, tuple[type[nn.Module], dict[str, bool]]] = {
    "resdsn": (ResDSN, {}),
    "fresdsn": (ResDSN, {"short_residual": True, "long_residual": True}),
    "sresdsn": (ResDSN, {"short_residual": True, "long_residual": False}),
    "dsn": (ResDSN, {"short_residual": False, "long_residual": False}),
    "res": (ResDSN, {"short_residual": False, "long_residual": True, "deep_supervision": False}),
    "unet3d": (UNet3D, {}),
    "vnet": (VNet, {}),
    "voxresnet": (VoxResNet, {}),
    "mixedresnet": (MixedResNet, {}),
    "hed3d": (HED3D, {}),
}
"""Class and the options that the name decides (Table 1 of arXiv 2010.16074); ``monai:CLASS`` comes beside them."""


def build_network(name: str, **options: Any) -> nn.Module:
    """Build a network with fresh weights.

    Raises
    ------
    InputError
        If the name or an option is unknown.
    """
    known = network_options(name)
    for key in options:
        if key not in known:
            raise InputError(f"network {name!r} has no option {key!r}; {nearest(key, known)}")
    if name.startswith(PREFIX):
        return build_monai(name, **known | options)
    kind, fixed = NETWORKS[name]
    try:
        return kind(**fixed, **options)
    except TypeError as error:
        raise InputError(f"network {name!r} cannot be built from {options}: {error}") from error


def build_deployed(name: str, **options: Any) -> nn.Module:
    """Build a network without the heads that only training uses; see :func:`build_network`."""
    training_only = {"deep_supervision": False} if "deep_supervision" in network_options(name) else {}
    return build_network(name, **options | training_only)


def network_options(name: str) -> dict[str, Any]:
    """Return the options of a network that its name leaves open, with their defaults.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    if name.startswith(PREFIX):
        return {"classes": 2, "options": {}}
    kind, fixed = _find(name)
    parameters = inspect.signature(kind).parameters
    return {key: parameter.default for key, parameter in parameters.items() if key not in fixed}


def count_auxiliary_heads(name: str, options: Mapping[str, Any]) -> int:
    """Return how many logits beside the main ones have a loss in training.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    if name.startswith(PREFIX):
        return 0
    kind, fixed = _find(name)
    supervised = {**options, **fixed}.get("deep_supervision", True)
    return int(getattr(kind, "auxiliary_heads", 0)) if supervised else 0


def training_loss(name: str) -> TrainingLoss:
    """Return the loss of a network's paper: the attribute ``loss`` of its class, or cross entropy.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    kind = nn.Module if name.startswith(PREFIX) else _find(name)[0]
    loss: TrainingLoss = getattr(kind, "loss", "ce")
    return loss


def _find(name: str) -> tuple[type[nn.Module], dict[str, bool]]:
    if name not in NETWORKS:
        raise InputError(f"unknown network {name!r}; {nearest(name, [*NETWORKS, PREFIX + 'CLASS'])}")
    return NETWORKS[name]
