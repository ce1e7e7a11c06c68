# SPDX-License-Identifier: Apache-2.0
"""Segmentation networks of MONAI by the names of their classes, such as ``monai:UNet``."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import nn

from robust3d.foundation.errors import InputError, nearest

PREFIX = "monai:"
"""Start of the names of these networks."""

_GIVEN = ("spatial_dims", "in_channels", "out_channels")
"""Options that follow from what robust3d feeds a network with; a class with all three is a candidate."""

# What MONAI's constructors raise for options that do not go together.
_REFUSALS = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, ZeroDivisionError)


def build_monai(name: str, *, classes: int, options: Mapping[str, Any], channels: int = 1) -> nn.Module:
    """Build a network of ``monai.networks.nets`` with fresh weights.

    Parameters
    ----------
    name : str
        ``monai:CLASS``.
    classes : int
        Output channels K, background included.
    options : mapping
        Keyword arguments of the class but for dimensions and channels in and out.
    channels : int
        Input channels.

    Raises
    ------
    InputError
        If MONAI is missing, has no such network, or the network does not take the options.
    """
    # Seconds to import, so only when such a network is wanted.
    try:
        nets = import_module("monai.networks.nets")
    except ImportError as error:
        raise InputError(
            f"network {name!r} needs MONAI, which cannot be imported ({error}); run: pip install 'robust3d[monai]'"
        ) from error
    candidates = _candidates(vars(nets))
    if name not in candidates:
        raise InputError(f"MONAI has no segmentation network for {name!r}; {nearest(name, candidates)}")
    kind = candidates[name]
    _check_options(name, kind, options)
    try:
        network = kind(spatial_dims=3, in_channels=channels, out_channels=classes, **options)
    except _REFUSALS as error:
        raise InputError(f"MONAI refuses the options {dict(options)} of network {name!r}: {error}") from error
    if "strides" in options:
        # Else a window that does not divide would fail inside MONAI, without a word on how to mend it.
        network.stride = math.prod(_largest(one) for one in options["strides"])  # type: ignore[assignment]
    return network


def _candidates(content: Mapping[str, Any]) -> dict[str, type[nn.Module]]:
    # MONAI's aliases (Unet for UNet) are left out: one network, one name.
    return {
        PREFIX + key: value
        for key, value in content.items()
        if isinstance(value, type)
        and issubclass(value, nn.Module)
        and value.__name__ == key
        and set(_GIVEN) <= inspect.signature(value).parameters.keys()
    }


def _check_options(name: str, kind: type[nn.Module], options: Mapping[str, Any]) -> None:
    parameters = {key: one for key, one in inspect.signature(kind).parameters.items() if key not in _GIVEN}
    for key in options:
        if key in _GIVEN:
            raise InputError(f"option {key!r} of network {name!r} follows from windows and classes; leave it out")
        if key not in parameters:
            raise InputError(f"network {name!r} has no option {key!r}; {nearest(key, parameters)}")
    missing = [key for key, one in parameters.items() if one.default is one.empty and key not in options]
    if missing:
        raise InputError(f"network {name!r} needs the options {', '.join(missing)}; give them in network.options")


def _largest(stride: int | Sequence[int]) -> int:
    return stride if isinstance(stride, int) else max(stride)
