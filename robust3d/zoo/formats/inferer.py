# SPDX-License-Identifier: Apache-2.0
"""Window settings of MONAI's ``SlidingWindowInferer``, from the object or from a bundle's data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from robust3d.foundation.errors import InputError
from robust3d.segment.channel_intensity import Scheme
from robust3d.segment.grid import overlap
from robust3d.segment.network import Predictor
from robust3d.segment.outputs import Outputs
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.windows import Weighting, check_window
from robust3d.zoo.formats.deployed import Deployment

INFERERS = ("SlidingWindowInferer", "SlidingWindowInfererAdapt")
"""Classes of MONAI that slide cubic windows; the second differs where memory runs out."""

_DEFAULTS: dict[str, Any] = {
    "overlap": 0.25,
    "mode": "constant",
    "sigma_scale": 0.125,
    "padding_mode": "constant",
    "cval": 0.0,
    "with_coord": False,
}
_HARMLESS = (
    "sw_batch_size",
    "sw_device",
    "device",
    "progress",
    "cache_roi_weight_map",
    "cpu_thresh",
    "buffer_steps",
    "buffer_dim",
)
"""Options that change speed and memory alone."""


def from_monai(
    network: Predictor, inferer: Any, *, intensity: Scheme, outputs: Outputs = "logits", **others: Any
) -> Segmenter:
    """Wrap a network with the inferer that it is deployed with.

    Parameters
    ----------
    network : nn.Module or callable
        Maps normalised windows ``(B, C, d, h, w)`` to ``outputs``.
    inferer : monai.inferers.SlidingWindowInferer
        Its windows, overlap, weights and padding are reproduced; the mean of overlapping outputs equals its own.
    intensity : Intensity or ChannelIntensity
        What the transforms before it do with voxels: ``unit_window(-57, 164)`` for
        ``ScaleIntensityRange(-57, 164, 0, 1, clip=True)``, ``zscore()`` for ``NormalizeIntensity()``.
    outputs : str
        ``"logits"`` or ``"probabilities"``; a single channel is the foreground's, of a sigmoid.
    others
        As for :meth:`Segmenter.from_network`.

    Raises
    ------
    InputError
        If the inferer works in a way that robust3d does not reproduce, or the network does not fit.
    """
    name = type(inferer).__name__
    settings = {key: getattr(inferer, key) for key in ("roi_size", *_DEFAULTS) if hasattr(inferer, key)}
    deployment = read_inferer(name, settings, intensity=intensity, outputs=outputs, where=f"the {name}")
    return deployment.segmenter(network, **others)


def read_inferer(
    name: str, settings: Mapping[str, Any], *, intensity: Scheme, outputs: Outputs, where: str
) -> Deployment:
    """Return the deployment that an inferer's class and settings describe.

    Raises
    ------
    InputError
        If a setting is one that robust3d does not reproduce.
    """
    if name not in INFERERS:
        raise InputError(f"{where} is a {name}; robust3d reproduces {INFERERS[0]}, so use one with a fixed roi_size")
    unknown = next((key for key in settings if key not in ("roi_size", *_DEFAULTS, *_HARMLESS)), None)
    if unknown:
        raise InputError(f"{where} has the option {unknown!r}, which robust3d does not reproduce; remove it")
    given = _DEFAULTS | {key: value for key, value in settings.items() if key not in _HARMLESS}
    roi = given.get("roi_size")
    edges = list(roi) if isinstance(roi, Sequence) else roi
    if not isinstance(edges, int | list):
        raise InputError(f"{where} has roi_size {roi!r}; it must be one or three numbers of voxels")
    window = check_window(edges)
    _refuse_others(given, where)
    fraction = _one(given["overlap"], f"{where}: overlap")
    weighting: Weighting = "gaussian" if _text(given["mode"]) == "gaussian" else "constant"
    return Deployment(
        window=window,
        grid=overlap(fraction),
        intensity=intensity.filled(float(given["cval"])),
        weighting=weighting,
        outputs=outputs,
    )


def _refuse_others(given: Mapping[str, Any], where: str) -> None:
    mode = _text(given["mode"])
    if mode not in ("constant", "gaussian"):
        raise InputError(f"{where} has mode {mode!r}; it must be 'constant' or 'gaussian'")
    if _text(given["padding_mode"]) != "constant":
        raise InputError(f"{where} has padding_mode {given['padding_mode']!r}; robust3d pads with a constant only")
    if mode == "gaussian" and _one(given["sigma_scale"], f"{where}: sigma_scale") != _DEFAULTS["sigma_scale"]:
        raise InputError(f"{where} has sigma_scale {given['sigma_scale']}; robust3d's Gaussian has 0.125, as MONAI's")
    if given["with_coord"]:
        raise InputError(f"{where} has with_coord = True; robust3d gives a network its window alone")


def _one(value: Any, what: str) -> float:
    """Return the one number that all axes have."""
    numbers = set(value) if isinstance(value, Sequence) and not isinstance(value, str) else {value}
    if len(numbers) != 1 or not all(isinstance(one, int | float) for one in numbers):
        raise InputError(f"{what} is {value!r}; it must be one number, the same for all axes")
    return float(numbers.pop())


def _text(value: Any) -> Literal["constant", "gaussian"] | str:
    """Return an option that may be an enumeration of MONAI's."""
    return str(getattr(value, "value", value))
