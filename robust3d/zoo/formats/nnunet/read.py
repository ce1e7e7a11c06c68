# SPDX-License-Identifier: Apache-2.0
"""From a results folder of nnU-Net v2 to a network and the grid that it works on."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from torch import nn

from robust3d.foundation.errors import InputError
from robust3d.networks.nnunet import build_nnunet
from robust3d.networks.weights import copy_state
from robust3d.segment.averaging import Mirrored, NetworkMean
from robust3d.segment.channel_intensity import scheme_of
from robust3d.segment.grid import step
from robust3d.segment.intensity import Intensity, dataset_zscore
from robust3d.segment.model_grid import ModelGrid
from robust3d.segment.regions import WithBackground
from robust3d.segment.resample import Resampling
from robust3d.zoo.formats.card import NnunetSection
from robust3d.zoo.formats.deployed import Deployed, Deployment, Source
from robust3d.zoo.formats.nnunet.checkpoint import Checkpoint, read_checkpoint
from robust3d.zoo.formats.nnunet.labels import Labels, read_labels
from robust3d.zoo.formats.nnunet.plans import (
    READERS,
    ArchitecturePlan,
    ConfigurationPlan,
    InterpolationPlan,
    Plans,
    read_plans,
)

_LEAST_STD = 1e-8

_Value = TypeVar("_Value")


def read_nnunet(source: Source) -> Deployed:
    """Read ``plans.json``, ``dataset.json`` and the checkpoints of the folds.

    A card's section ``nnunet`` chooses folds, checkpoint, mirroring and step; by default they are what
    ``nnUNetv2_predict`` takes.
    """
    section = NnunetSection() if source.card is None or source.card.nnunet is None else source.card.nnunet
    folder = source.path
    labels = read_labels(folder / "dataset.json")
    folds = section.folds or _folds(folder, section.checkpoint)
    checkpoints = [(one, read_checkpoint(folder / f"fold_{one}" / section.checkpoint)) for one in folds]
    first = checkpoints[0][1]
    plans, configuration = read_plans(folder / "plans.json", section.configuration or first.configuration)
    networks = [
        _network(configuration.architecture, labels, checkpoint, folder / f"fold_{fold}" / section.checkpoint)
        for fold, checkpoint in checkpoints
    ]
    network = networks[0] if len(networks) == 1 else NetworkMean(networks)
    mirrored = first.mirror_axes if section.mirroring else ()
    if mirrored:
        network = Mirrored(network, mirrored)
    return Deployed(
        WithBackground(network) if labels.order else network,
        Deployment(
            window=configuration.patch_size,
            grid=step(section.step),
            intensity=Intensity(offset=0.0, scale=1.0, fill=0.0),
            weighting="nnunet",
            fusion="logits",
            channels=labels.channels,
        ),
        {
            "name": configuration.architecture.network_class_name.rsplit(".", 1)[-1],
            "trainer": first.trainer,
            "configuration": section.configuration or first.configuration,
            "folds": [str(one) for one in folds],
            "mirror_axes": list(mirrored),
            "options": configuration.architecture.arch_kwargs,
        },
        model_grid=_grid(plans, configuration, labels.channels, folder / "plans.json"),
        regions=labels.order,
    )


def _folds(folder: Path, checkpoint: str) -> tuple[str, ...]:
    """Return the folds that have a checkpoint; all but the one trained on all data, unless it is alone."""
    found = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}"))
    folds = tuple(one for one in found if one != "all") or tuple(found)
    if not folds:
        raise InputError(f"model folder {folder} has no fold_X/{checkpoint}; give the folder that training wrote")
    return folds


def _network(architecture: ArchitecturePlan, labels: Labels, checkpoint: Checkpoint, path: Path) -> nn.Module:
    network = build_nnunet(
        architecture.network_class_name,
        architecture.arch_kwargs,
        architecture.kw_requires_import,
        classes=labels.heads,
        channels=labels.channels,
    )
    copy_state(network.state_dict(), checkpoint.state, path)
    return network


def _grid(plans: Plans, configuration: ConfigurationPlan, channels: int, path: Path) -> ModelGrid:
    schemes = _each(configuration.normalization_schemes, channels, "normalization_schemes", path)
    inside = _each(configuration.use_mask_for_norm, channels, "use_mask_for_norm", path)
    # Other schemes of nnU-Net do not look at the mask.
    masked = {one for scheme, one in zip(schemes, inside, strict=True) if scheme == "ZScoreNormalization"}
    if masked == {True, False} or (True in masked and len(set(schemes)) > 1):
        raise InputError(
            f"{path}: some channels are normalised within the mask and others not; robust3d has one rule for all"
        )
    return ModelGrid(
        spacing=configuration.spacing,
        axes=plans.axes,
        intensity=scheme_of([_intensity(scheme, number, plans, path) for number, scheme in enumerate(schemes)]),
        canonical=READERS[plans.image_reader_writer],
        masked=True in masked,
        image=_resampling(configuration.resampling_fn_data_kwargs),
        logits=_resampling(configuration.resampling_fn_probabilities_kwargs),
    )


def _intensity(scheme: str, number: int, plans: Plans, path: Path) -> Intensity:
    if scheme == "ZScoreNormalization":
        return Intensity()
    if scheme == "NoNormalization":
        return Intensity(offset=0.0, scale=1.0)
    if scheme != "CTNormalization":
        raise InputError(
            f"{path}: normalization_schemes has {scheme!r}; robust3d reproduces CTNormalization, ZScoreNormalization "
            "and NoNormalization"
        )
    found = plans.foreground_intensity_properties_per_channel.get(str(number))
    if found is None:
        raise InputError(
            f"{path}: CTNormalization needs foreground_intensity_properties_per_channel of channel {number}"
        )
    return dataset_zscore(found.percentile_00_5, found.percentile_99_5, found.mean, max(found.std, _LEAST_STD))


def _resampling(plan: InterpolationPlan) -> Resampling:
    return Resampling(plan.order, plan.order_z, plan.force_separate_z, plan.separate_z_anisotropy_threshold)


def _each(values: tuple[_Value, ...], channels: int, key: str, path: Path) -> tuple[_Value, ...]:
    if len(values) != channels:
        raise InputError(f"{path}: {key} has {len(values)} entries and dataset.json names {channels} channels")
    return values
