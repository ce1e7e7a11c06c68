# SPDX-License-Identifier: Apache-2.0
"""A results folder as nnU-Net v2 writes it, with a tiny network of random weights, and cases to segment."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robust3d.networks.nnunet import build_nnunet

LAYERS = ["conv_op", "norm_op", "dropout_op", "nonlin"]
NAME = "nnUNetTrainer__nnUNetPlans__3d_fullres"


def architecture(kind: str = "PlainConvUNet") -> dict[str, Any]:
    convolutions = "n_conv_per_stage" if kind == "PlainConvUNet" else "n_blocks_per_stage"
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [4, 8],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [2, 2, 2]],
            convolutions: [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": LAYERS,
    }


def plans(**changes: Any) -> dict[str, Any]:
    """Plans of two configurations; ``changes`` go into 3d_fullres, from which 3d_lowres inherits."""
    resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    full = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [12, 16, 14],
        "median_image_size_in_voxels": [20.0, 24.0, 22.0],
        "spacing": [2.0, 1.25, 1.5],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {**resampling, "order": 3},
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
        "architecture": architecture(),
        "batch_dice": False,
    }
    properties = {"max": 900.0, "mean": 45.5, "median": 44.0, "min": -400.0}
    properties |= {"percentile_00_5": -80.0, "percentile_99_5": 190.0, "std": 55.25}
    return {
        "dataset_name": "Dataset500_Tiny",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [2.0, 1.25, 1.5],
        "original_median_shape_after_transp": [20, 24, 22],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "2d": {"patch_size": [16, 16], "spacing": [1.25, 1.5]},
            "3d_fullres": full | changes,
            "3d_lowres": {"inherits_from": "3d_fullres", "spacing": [3.0, 2.5, 2.5]},
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": properties},
    }


def labels(regions: bool = False) -> dict[str, Any]:
    named: dict[str, Any] = {"background": 0, "organ": 1, "tumour": 2}
    content = {"channel_names": {"0": "CT"}, "numTraining": 2, "file_ending": ".nii.gz"}
    if not regions:
        return content | {"labels": named | {"ignore": 3}}
    return content | {"labels": {"background": 0, "whole": [1, 2], "tumour": 2}, "regions_class_order": [1, 2]}


def fill(module: torch.nn.Module, seed: int) -> None:
    """Give every parameter values that look random and are the same with every version of torch."""
    with torch.no_grad():
        for number, (name, parameter) in enumerate(sorted(module.named_parameters())):
            waves = np.sin(np.arange(parameter.numel()) * 12.9898 + 78.233 * (number + 100 * seed + 1)) * 43758.5453
            values = torch.from_numpy(2 * (waves - np.floor(waves)) - 1).view(parameter.shape)
            if parameter.ndim > 1:
                values = values * 2.5 / np.sqrt(parameter[0].numel())
            elif "norm" in name and name.endswith("weight"):
                values = 1 + 0.3 * values
            parameter.copy_(values * (2 if "seg_layers" in name else 1))


def write_results(
    root: Path,
    *,
    plan: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    folds: tuple[str, ...] = ("0",),
    mirror_axes: tuple[int, ...] | None = (0, 1, 2),
    configuration: str = "3d_fullres",
) -> Path:
    """Write ``plans.json``, ``dataset.json`` and a checkpoint a fold, whose log holds numbers of numpy as theirs do."""
    folder = root / NAME
    plan, dataset = plan or plans(), dataset or labels()
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plan))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    network = plan["configurations"]["3d_fullres"].get("architecture") or architecture()
    heads = 2 if "regions_class_order" in dataset else 3
    for number, fold in enumerate(folds):
        module = build_nnunet(
            network["network_class_name"],
            network["arch_kwargs"],
            tuple(LAYERS),
            classes=heads,
            channels=len(dataset.get("channel_names", {})) or 1,
        )
        fill(module, number)
        checkpoint = {
            "network_weights": module.state_dict(),
            "optimizer_state": torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.99).state_dict(),
            "grad_scaler_state": {"scale": 65536.0, "growth_factor": 2.0},
            "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)], "epoch_end_timestamps": [1.5]},
            "_best_ema": np.float64(0.5),
            "current_epoch": 1000,
            "init_args": {
                "plans": plan,
                "configuration": configuration,
                "fold": fold,
                "dataset_json": dataset,
                "device": torch.device("cuda"),
            },
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": mirror_axes,
        }
        (folder / f"fold_{fold}").mkdir()
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def case(shape: tuple[int, int, int] = (20, 17, 14), *, seed: int = 0) -> np.ndarray:
    """Smooth CT-like values with an empty border, axes as in a NIfTI file."""
    random = np.random.default_rng(seed)
    image = random.normal(0, 1, tuple(-(-length // 4) for length in shape))
    for axis, length in enumerate(shape):
        image = np.repeat(image, 4, axis=axis).take(range(length), axis=axis)
        image = (image + np.roll(image, 1, axis) + np.roll(image, -1, axis)) / 3
    image = (image * 120 + 40 + random.normal(0, 10, shape)).round().astype(np.float32)
    image[:2] = 0
    image[:, -1:] = 0
    return image
