# SPDX-License-Identifier: Apache-2.0
"""The U-Nets of nnU-Net, from the description in its plans: dynamic_network_architectures builds them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import nn

from robust3d.foundation.errors import InputError

NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")
"""Classes that plans may name, wherever the version that wrote them kept these."""

_HOME = "dynamic_network_architectures.architectures.unet"

# What the constructors raise for options that do not go together.
_REFUSALS = (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


def build_nnunet(
    name: str, options: Mapping[str, Any], layers: tuple[str, ...], *, classes: int, channels: int = 1
) -> nn.Module:
    """Build a network with fresh weights, without deep supervision.

    Parameters
    ----------
    name : str
        Path of its class, of which the last part counts; one of :data:`NETWORKS`.
    options : mapping
        Keyword arguments of the class but for channels in and out.
    layers : tuple of str
        Keys of ``options`` that name a class of ``torch.nn``, or hold ``None``.
    classes, channels : int
        Output and input channels.

    Raises
    ------
    InputError
        If the package is missing, the class or a layer is another, or the options do not go together.
    """
    kind = name.rsplit(".", 1)[-1]
    if kind not in NETWORKS:
        raise InputError(f"the network {name!r} is none of {', '.join(NETWORKS)}, which robust3d builds")
    resolved = {key: _layer(value, key) if key in layers else value for key, value in options.items()}
    if resolved.get("conv_op") is not nn.Conv3d:
        raise InputError(
            f"the network has conv_op {options.get('conv_op')!r}; robust3d needs a 3D one, torch.nn.Conv3d"
        )
    try:
        home = import_module(_HOME)
    except ImportError as error:
        raise InputError(
            f"a network of nnU-Net needs dynamic_network_architectures, which cannot be imported ({error}); run: pip "
            "install 'robust3d[nnunet]'"
        ) from error
    try:
        network: nn.Module = getattr(home, kind)(
            input_channels=channels, num_classes=classes, **(resolved | {"deep_supervision": False})
        )
    except _REFUSALS as error:
        raise InputError(f"{kind} refuses the options {dict(options)}: {error}") from error
    return network


def _layer(value: Any, key: str) -> type[nn.Module] | None:
    """Return a layer by its path, without importing anything that a file names."""
    if value is None:
        return None
    found = getattr(nn, value.rsplit(".", 1)[-1], None) if isinstance(value, str) else None
    if not (isinstance(found, type) and issubclass(found, nn.Module) and value.startswith("torch.nn.")):
        raise InputError(f"the network's option {key!r} is {value!r}; robust3d takes layers of torch.nn alone")
    return found
