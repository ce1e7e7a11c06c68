# SPDX-License-Identifier: Apache-2.0
"""Plans of nnU-Net before 2.4, which describe the network by a few numbers of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robust3d.foundation.errors import InputError


def architecture_of(configuration: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return the section ``architecture`` that later versions write for such a configuration.

    Raises
    ------
    InputError
        If it is described in neither way.
    """
    try:
        name = configuration["UNet_class_name"]
        encoder = list(configuration["n_conv_per_stage_encoder"])
        base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
        options = {
            "n_stages": len(encoder),
            "features_per_stage": [min(base * 2**stage, most) for stage in range(len(encoder))],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": configuration["conv_kernel_sizes"],
            "strides": configuration["pool_op_kernel_sizes"],
            "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage": encoder,
            "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        }
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{where} has no key 'architecture', nor what older plans have in its place: {error}"
        ) from error
    return {
        "network_class_name": name,
        "arch_kwargs": options,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
