# SPDX-License-Identifier: Apache-2.0
"""Numerics of window gradients: exact in the network's own precision, or fast in bfloat16 where the device has it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from robust3d.foundation.errors import InputError
from robust3d.networks.folding import channels_last, inference_copy
from robust3d.segment.network import Predictor, device_of, dtype_of

Precision = Literal["exact", "fast"]


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device multiplies matrices in it (AMX, CUDA from Ampere on), else float32.

    Without such instructions bfloat16 convolutions are slower than float32 ones.
    """
    if device.type == "cuda":
        has = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        known = getattr(torch.cpu, "get_capabilities", None)
        has = known is not None and bool(known().get("amx_bf16", False))
    return torch.bfloat16 if has else torch.float32


def fast_copy(network: Predictor) -> nn.Module | None:
    """Return a frozen copy with batch normalisation folded, in :func:`fast_dtype`; ``network`` is not changed.

    ``None`` where that is the type that ``network`` has: a copy would only take memory.

    Raises
    ------
    InputError
        If ``network`` is no ``nn.Module``, and so has no copy in another precision.
    """
    if not isinstance(network, nn.Module):
        raise InputError("precision 'fast' converts the weights of an nn.Module; use 'exact' for any other callable")
    dtype = fast_dtype(device_of(network))
    if dtype == dtype_of(network, torch.float32):
        return None
    return channels_last(inference_copy(network)).to(dtype)
