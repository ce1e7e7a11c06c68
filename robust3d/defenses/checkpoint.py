# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: one safetensors file with everything that a run needs to go on as if never stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from robust3d.foundation.errors import InputError
from robust3d.foundation.files import replacing

_STATE = ("momentum_buffer", "exp_avg", "exp_avg_sq", "step")
"""What SGD and AdamW keep for each parameter."""

_STORED = {"momentum_buffer": "momentum"}
"""Names in the file, where they differ."""


@dataclass
class Progress:
    """Where a stage stands.

    Parameters
    ----------
    recipe : str
        SHA-256 of the stage's settings.
    inputs : str
        SHA-256 of the starting weights and of all cases.
    iteration : int
        Steps done.
    best_dsc : float
        Best validation DSC so far, from 0 to 1 (robust where the recipe is adversarial); -1 before the first.
    best_iteration : int
        Steps done when it was reached.
    history : list of dict
        One entry a validation.
    settings : dict
        The stage's settings, of which ``recipe`` is the hash; empty in checkpoints of early versions.
    """

    recipe: str
    inputs: str
    iteration: int = 0
    best_dsc: float = -1.0
    best_iteration: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


def checkpoint_file(out: Path, stage: str) -> Path:
    """Return the file in the folder of a run that a stage resumes from."""
    return out / f"{stage}.checkpoint.safetensors"


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
    progress: Progress,
    *,
    average: nn.Module | None = None,
) -> None:
    """Write a checkpoint atomically; ``average`` is the network of averaged weights, if the run keeps one."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for name, parameter in network.named_parameters():
        for key, tensor in optimizer.state[parameter].items():
            if tensor is not None:
                tensors[f"{_STORED.get(key, key)}.{name}"] = tensor
    if average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    # Tensors that share memory cannot be stored; a clone also drops channels-last strides.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    # As bytes: safetensors' own writer would make a temporary file beside ours, which a kill would leave behind.
    content = save(plain, metadata={"progress": json.dumps(asdict(progress))})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def load_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    fresh: Progress,
    *,
    average: nn.Module | None = None,
) -> tuple[dict[str, Tensor], Progress]:
    """Restore network, optimizer and average; return the best weights so far and the progress.

    ``fresh`` is the progress of a run that has not begun; its settings and inputs must be the checkpoint's.

    Raises
    ------
    InputError
        If the file is damaged or was written with other settings.
    """
    progress, tensors = _read(path, tensors=True)
    _check_settings(path, progress, fresh)
    if progress.inputs != fresh.inputs:
        raise InputError(
            f"checkpoint {path} was started from other weights or cases ({progress.inputs[:12]}..., now "
            f"{fresh.inputs[:12]}...); give another --out, or what it was started with"
        )
    try:
        network.load_state_dict(_part(tensors, "network."))
        if average is not None:
            average.load_state_dict(_part(tensors, "average."))
        _restore(optimizer, network, tensors)
    except RuntimeError as error:
        # A tensor is missing, one too many, or of another shape.
        raise InputError(
            f"checkpoint {path} does not fit the network of the card: {error}; delete it to start anew"
        ) from error
    return _part(tensors, "best."), progress


def check_checkpoint(path: Path, fresh: Progress) -> None:
    """Refuse a checkpoint that is damaged or was written with other settings; its tensors are not read.

    Raises
    ------
    InputError
        If it is there and does not fit; names the settings that differ.
    """
    if path.exists():
        _check_settings(path, _read(path, tensors=False)[0], fresh)


def _read(path: Path, *, tensors: bool) -> tuple[Progress, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as content:
            progress = Progress(**json.loads((content.metadata() or {})["progress"]))
            names = content.keys() if tensors else ()
            return progress, {name: content.get_tensor(name) for name in names}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"checkpoint {path} cannot be read: {error}; delete it to start anew") from error


def _check_settings(path: Path, progress: Progress, fresh: Progress) -> None:
    if progress.recipe != fresh.recipe:
        raise InputError(
            f"checkpoint {path} was written with other settings: {_differences(progress, fresh)}; give another --out, "
            "or the card it was started with"
        )


def _restore(optimizer: torch.optim.Optimizer, network: nn.Module, tensors: dict[str, Tensor]) -> None:
    for key in _STATE:
        stored = _part(tensors, f"{_STORED.get(key, key)}.")
        for name, parameter in network.named_parameters():
            if name in stored:
                # Moments are laid out like their parameter; AdamW's count of steps is a scalar on the CPU.
                kept = stored[name] if key == "step" else torch.empty_like(parameter).copy_(stored[name])
                optimizer.state[parameter][key] = kept


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


_SHOWN = 4
"""Settings that a message names; the others are counted."""


def _differences(written: Progress, fresh: Progress) -> str:
    """Return the keys in which two settings differ, each with both values."""
    before, now = _flat(written.settings), _flat(fresh.settings)
    stage = fresh.settings.get("stage", "stage")
    keys = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if not written.settings or not keys:
        return f"hash {written.recipe[:12]}..., the card has {fresh.recipe[:12]}..."
    shown = [
        f"{key.replace('settings.', f'{stage}.', 1)} = {before.get(key, 'not set')}, now {now.get(key, 'not set')}"
        for key in keys[:_SHOWN]
    ]
    return "; ".join(shown) + (f"; and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else "")


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
