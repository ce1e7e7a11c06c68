# SPDX-License-Identifier: Apache-2.0
"""``plans.json`` of nnU-Net v2: one configuration with what it inherits, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from robust3d.data.layouts.documents import read_object
from robust3d.foundation.cards import Card, check_card
from robust3d.foundation.errors import InputError, nearest
from robust3d.segment.resample import Order
from robust3d.zoo.formats.nnunet.legacy import architecture_of

READERS = {"SimpleITKIO": False, "NibabelIO": False, "NibabelIOWithReorient": True}
"""Readers of nnU-Net for NIfTI files, and whether they turn a volume to RAS+."""

_RESAMPLING = "resample_data_or_seg_to_shape"

Three = tuple[PositiveInt, PositiveInt, PositiveInt]


class PlansSection(Card):
    """Part of a file that holds much else, which does not matter here."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class InterpolationPlan(PlansSection):
    """Arguments of nnU-Net's resampling function."""

    order: Order
    order_z: Order = 0
    force_separate_z: bool | None = False
    separate_z_anisotropy_threshold: float = 3.0


class ArchitecturePlan(PlansSection):
    """A network: class, its keyword arguments, and which of these name a layer."""

    network_class_name: str
    arch_kwargs: dict[str, Any]
    kw_requires_import: tuple[str, ...] = Field(default=(), alias="_kw_requires_import")


class ConfigurationPlan(PlansSection):
    """One configuration, such as ``3d_fullres``; axes are nnU-Net's, after ``transpose_forward``."""

    patch_size: Three
    spacing: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    normalization_schemes: tuple[str, ...]
    use_mask_for_norm: tuple[bool, ...]
    resampling_fn_data: str = _RESAMPLING
    resampling_fn_data_kwargs: InterpolationPlan
    resampling_fn_probabilities: str = _RESAMPLING
    resampling_fn_probabilities_kwargs: InterpolationPlan
    architecture: ArchitecturePlan
    previous_stage: str | None = None
    preprocessor_name: str = "DefaultPreprocessor"

    @model_validator(mode="after")
    def _known(self) -> ConfigurationPlan:
        for key in ("resampling_fn_data", "resampling_fn_probabilities"):
            if getattr(self, key) != _RESAMPLING:
                raise ValueError(f"{key} is {getattr(self, key)!r}; robust3d reproduces {_RESAMPLING} alone")
        if self.preprocessor_name != "DefaultPreprocessor":
            raise ValueError(
                f"preprocessor_name is {self.preprocessor_name!r}; robust3d reproduces DefaultPreprocessor alone"
            )
        if self.previous_stage is not None:
            raise ValueError(
                f"it is the second stage of a cascade after {self.previous_stage!r}, with masks as further input "
                "channels, which robust3d does not feed; use 3d_fullres or 3d_lowres"
            )
        return self


class ChannelProperties(PlansSection):
    """Intensities of the foreground of all training cases."""

    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float


class Plans(PlansSection):
    """What holds for all configurations."""

    transpose_forward: tuple[int, int, int] = (0, 1, 2)
    image_reader_writer: str = "SimpleITKIO"
    foreground_intensity_properties_per_channel: dict[str, ChannelProperties] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> Plans:
        if sorted(self.transpose_forward) != [0, 1, 2]:
            raise ValueError(f"transpose_forward is {list(self.transpose_forward)}; it must order the axes 0, 1, 2")
        if self.image_reader_writer not in READERS:
            raise ValueError(
                f"image_reader_writer is {self.image_reader_writer!r}; robust3d reads NIfTI as {', '.join(READERS)} do"
            )
        return self

    @property
    def axes(self) -> tuple[int, int, int]:
        """Axis of a NIfTI array that each of the model's is: nnU-Net reads arrays in the order of SimpleITK, z y x."""
        first, second, third = (2 - axis for axis in self.transpose_forward)
        return first, second, third


def read_plans(path: Path, configuration: str) -> tuple[Plans, ConfigurationPlan]:
    """Return the plans and one configuration.

    Raises
    ------
    InputError
        If the file is missing or damaged, lacks the configuration or a key of it, or asks for what is not reproduced.
    """
    content = read_object(path)
    # The name that early versions gave it.
    properties = content.get("foreground_intensity_properties_by_modality")
    if properties is not None:
        content.setdefault("foreground_intensity_properties_per_channel", properties)
    plans = check_card(content, Plans, where=str(path))
    found = _resolved(content.get("configurations"), configuration, path)
    if len(found.get("patch_size", ())) == 2:
        raise InputError(
            f"{path}: configuration {configuration!r} is 2D; robust3d attacks 3D networks, such as 3d_fullres"
        )
    if "architecture" not in found:
        found["architecture"] = architecture_of(found, where=f"{path}, configuration {configuration!r}")
    return plans, check_card(found, ConfigurationPlan, where=f"{path}, configuration {configuration!r}")


def _resolved(configurations: Any, name: str, path: Path) -> dict[str, Any]:
    """Return a configuration with what it inherits."""
    if not isinstance(configurations, Mapping):
        raise InputError(f"{path} has no table of configurations; give the folder of a model trained by nnU-Net v2")
    chain: list[Mapping[str, Any]] = []
    seen: list[str] = []
    current: Any = name
    while current is not None:
        if current in seen:
            raise InputError(f"{path}: configuration {current!r} inherits from itself")
        one = configurations.get(current) if isinstance(current, str) else None
        if not isinstance(one, Mapping):
            raise InputError(f"{path} has no configuration {current!r}; {nearest(str(current), configurations)}")
        seen.append(current)
        chain.append(one)
        current = one.get("inherits_from")
    return {key: value for one in reversed(chain) for key, value in one.items()}
