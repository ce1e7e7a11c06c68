# SPDX-License-Identifier: Apache-2.0
"""MONAI's intensity transforms, given as data, as one intensity scheme."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from robust3d.foundation.errors import InputError
from robust3d.segment.channel_intensity import Scheme, scheme_of
from robust3d.segment.intensity import Intensity

Step = tuple[str, Mapping[str, Any]]
"""Class of a transform without the ending of dictionary transforms, and its arguments."""

_NEUTRAL = {
    "LoadImage", "EnsureChannelFirst", "AddChannel", "AsChannelFirst", "EnsureType", "CastToType", "ToTensor",
    "ToDevice", "SelectItems", "Identity", "SqueezeDim",
}  # fmt: skip
_GRID = {"Orientation": "axcodes", "Spacing": "pixdim"}
_INTENSITY = {"ScaleIntensityRange", "NormalizeIntensity"}
_SCOPE = ("allow_missing_keys", "dtype")
"""Arguments that change nothing."""


def known_transform(target: str) -> str | None:
    """Return the class that ``_target_`` names, without module and dictionary ending; ``None`` if it is not known."""
    name = target.rsplit(".", 1)[-1]
    known = _NEUTRAL | _INTENSITY | _GRID.keys()
    return next((name.removesuffix(end) for end in ("", "Dict", "d", "D") if name.removesuffix(end) in known), None)


def grid_wanted(steps: Sequence[Step]) -> str:
    """Return in words which axes and spacing the transforms make; empty for those of the file."""
    wanted = [f"{_GRID[name]} {values.get(_GRID[name])}" for name, values in steps if name in _GRID]
    return " and ".join(wanted)


def is_neutral(name: str) -> bool:
    """Return whether a transform changes neither values nor the grid."""
    return name in _NEUTRAL


def compose_intensity(steps: Sequence[Step], where: str, channels: int = 1) -> Scheme:
    """Return the scheme that transforms of values make one after the other, for so many channels.

    Raises
    ------
    InputError
        If they make none: statistics of part of the voxels or of all channels together, or a step after the z-score.
    """
    return scheme_of([_composed(steps, where, number, channels) for number in range(channels)])


def _composed(steps: Sequence[Step], where: str, number: int, channels: int) -> Intensity:
    """Return the scheme of one channel."""
    scheme = Intensity(offset=0.0, scale=1.0)
    for name, values in steps:
        if name not in _INTENSITY:
            continue
        if scheme.per_case:
            raise InputError(f"{where}: {name} follows a z-score per case; robust3d knows none after it")
        options = {key: value for key, value in values.items() if key not in _SCOPE}
        if name == "NormalizeIntensity":
            options = _of_channel(options, number, channels, f"{where}: {name}")
        scheme = (_scaled if name == "ScaleIntensityRange" else _normalised)(scheme, options, f"{where}: {name}")
    return scheme


def _of_channel(options: Mapping[str, Any], number: int, channels: int, where: str) -> dict[str, Any]:
    """Return the options of NormalizeIntensity for one channel."""
    own = {key: value for key, value in options.items() if key != "channel_wise"}
    if channels == 1:
        return own
    fixed = [key for key in ("subtrahend", "divisor") if own.get(key) is not None]
    if not options.get("channel_wise") and not (fixed and all(isinstance(own[key], int | float) for key in fixed)):
        raise InputError(
            f"{where} takes one mean and deviation of all {channels} channels together, which robust3d does not have; "
            "set channel_wise = true if the model was trained so"
        )
    for key in fixed:
        if isinstance(own[key], list):
            if len(own[key]) != channels:
                raise InputError(f"{where}: {key} has {len(own[key])} entries and the network {channels} channels")
            own[key] = own[key][number]
    return own


def _scaled(scheme: Intensity, options: Mapping[str, Any], where: str) -> Intensity:
    _only(options, ("a_min", "a_max", "b_min", "b_max", "clip"), where)
    low, high = (_number(options.get(key), f"{where}: {key}") for key in ("a_min", "a_max"))
    bottom, top = 0.0, 1.0
    if options.get("b_min") is not None or options.get("b_max") is not None:
        bottom, top = (_number(options.get(key), f"{where}: {key}") for key in ("b_min", "b_max"))
    elif options.get("clip"):
        raise InputError(f"{where} clips, but to no b_min and b_max; give both")
    if not (low < high and bottom < top):
        raise InputError(f"{where} maps [{low:g}, {high:g}] to [{bottom:g}, {top:g}]; both must go upwards")
    if options.get("clip"):
        scheme = _clipped(scheme, low, high)
    scale = (high - low) / (top - bottom)
    return _affine(scheme, low - bottom * scale, scale)


def _normalised(scheme: Intensity, options: Mapping[str, Any], where: str) -> Intensity:
    _only(options, ("subtrahend", "divisor", "nonzero"), where)
    if options.get("nonzero"):
        raise InputError(f"{where} has nonzero = true, statistics of part of the voxels, which robust3d does not have")
    subtrahend, divisor = options.get("subtrahend"), options.get("divisor")
    if subtrahend is None and divisor is None:
        return replace(scheme, offset=None, scale=None)
    if subtrahend is None or divisor is None:
        raise InputError(f"{where} fixes one of subtrahend and divisor; give both, or neither (z-score per case)")
    return _affine(scheme, *(_number(value, where) for value in (subtrahend, divisor)))


def _affine(scheme: Intensity, offset: float, scale: float) -> Intensity:
    """Return ``scheme`` followed by (y - offset) / scale."""
    before, by = scheme.offset or 0.0, scheme.scale or 1.0
    return replace(scheme, offset=before + by * offset, scale=by * scale)


def _clipped(scheme: Intensity, low: float, high: float) -> Intensity:
    """Return ``scheme`` with its output clipped to ``[low, high]``."""
    before, by = scheme.offset or 0.0, scheme.scale or 1.0
    return replace(scheme, low=max(scheme.low, before + by * low), high=min(scheme.high, before + by * high))


def _number(value: Any, what: str) -> float:
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{what} is {value!r}; it must be one number")
    return float(value)


def _only(options: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    unknown = next((key for key in options if key not in known), None)
    if unknown:
        raise InputError(f"{where} has the option {unknown!r}, which robust3d does not reproduce")
