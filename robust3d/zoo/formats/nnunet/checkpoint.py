# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of nnU-Net v2, which hold numbers of numpy beside the weights; nothing else is unpickled."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robust3d.foundation.errors import InputError

CHECKPOINT = "checkpoint_final.pth"


@dataclass(frozen=True)
class Checkpoint:
    """What prediction needs of one.

    Parameters
    ----------
    state : mapping
        Weights by name.
    configuration : str
        That of the plans it was trained with.
    mirror_axes : tuple of int
        Axes that its training mirrored windows along; empty for none.
    trainer : str
        Class of the trainer.
    """

    state: Mapping[str, Tensor]
    configuration: str
    mirror_axes: tuple[int, ...]
    trainer: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint on the CPU.

    Raises
    ------
    InputError
        If it is missing or damaged, is no checkpoint of nnU-Net v2, or holds other Python objects.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist")
    try:
        with _numbers_of_numpy():
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"checkpoint {path} is damaged or holds Python objects beside weights and numbers, and unpickling these "
            f'may run any code; where you trust it, keep what prediction needs: python -c "import torch; '
            f"c = torch.load('{path.name}', weights_only=False); torch.save({{'network_weights': c['network_weights'], "
            "'init_args': {'configuration': c['init_args']['configuration']}, 'trainer_name': c['trainer_name'], "
            "'inference_allowed_mirroring_axes': c.get('inference_allowed_mirroring_axes')}, "
            f"'{path.name}')\""
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"checkpoint {path} cannot be read: {error}") from error
    state = content.get("network_weights") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(one, Tensor) for one in state.values()):
        raise InputError(f"checkpoint {path} holds no network_weights; give one of nnU-Net v2, such as {CHECKPOINT}")
    arguments = content.get("init_args")
    configuration = arguments.get("configuration") if isinstance(arguments, Mapping) else None
    if not isinstance(configuration, str):
        raise InputError(f"checkpoint {path} does not name its configuration in init_args; give one of nnU-Net v2")
    axes = content.get("inference_allowed_mirroring_axes") or ()
    if not isinstance(axes, list | tuple) or not set(axes) <= {0, 1, 2}:
        raise InputError(f"checkpoint {path} allows mirroring along the axes {axes}; a 3D network has the axes 0, 1, 2")
    # As DataParallel and torch.compile name them.
    plain = {str(name).removeprefix("module.").removeprefix("_orig_mod."): tensor for name, tensor in state.items()}
    return Checkpoint(plain, configuration, tuple(axes), str(content.get("trainer_name")))


def _numbers_of_numpy() -> AbstractContextManager[None]:
    """Allow scalars of numpy while a file is read: they are built from a type and bytes, and run no code."""
    # Before torch 2.6 an allowed class had no second name, which numpy 2 needs for checkpoints of numpy 1.
    if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        return nullcontext()
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    allowed: list[Any] = [np.dtype, *kinds, *((scalar, name) for name in names)]
    context: AbstractContextManager[None] = torch.serialization.safe_globals(allowed)
    return context
