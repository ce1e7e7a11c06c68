# SPDX-License-Identifier: Apache-2.0
"""Weights as safetensors files: plain numbers with a SHA-256, nothing to unpickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from robust3d.foundation.digest import digest_file
from robust3d.foundation.errors import InputError, nearest
from robust3d.foundation.files import replacing


def save_weights(network: nn.Module, path: Path) -> str:
    """Write half-precision weights without auxiliary heads atomically; return the file's SHA-256.

    Raises
    ------
    InputError
        If a weight is not finite in half precision (names the tensor), or the file cannot be written.
    """
    state = {
        name: (tensor.detach().cpu().half() if tensor.is_floating_point() else tensor.detach().cpu()).contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith("aux")
    }
    for name, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            largest = float(network.state_dict()[name].abs().max())
            raise InputError(
                f"tensor {name!r} holds {largest:g} and half precision ends at {torch.finfo(torch.float16).max:g}, so "
                f"{path} cannot hold it; train with a lower learning rate or more weight decay"
            )
    # As bytes: safetensors' own writer would make a temporary file beside ours, which a kill would leave behind.
    content = save(state)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return digest_file(path)


def check_weights(path: Path, sha256: str | None = None) -> str:
    """Return the SHA-256 of a weight file.

    Raises
    ------
    InputError
        If it is missing or has another hash than ``sha256``.
    """
    if not path.is_file():
        raise InputError(f"weight file {path} does not exist")
    found = digest_file(path)
    if sha256 is not None and found != sha256:
        raise InputError(
            f"weight file {path} has SHA-256 {found[:16]}..., its card says {sha256[:16]}...; fetch it anew"
        )
    return found


def load_weights(
    network: nn.Module, path: Path, *, sha256: str | None = None, layers: Sequence[str] | None = None
) -> str:
    """Load weights into ``network`` and return the file's SHA-256.

    Auxiliary heads are not stored; they keep what ``network`` has, and so do layers that are not asked for.

    Parameters
    ----------
    network : nn.Module
        Filled in place.
    path : Path
        File of :func:`save_weights`.
    sha256 : str, optional
        Hash that it must have.
    layers : sequence of str, optional
        Layers to load, such as ``"conv1"``; all by default. The others may differ in shape.

    Raises
    ------
    InputError
        If the file is missing, damaged, has another hash or belongs to another network (names the first layer), or if
        the network has no such layer.
    """
    found = check_weights(path, sha256)
    try:
        stored = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"weight file {path} is not a safetensors file: {error}") from error
    expected = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("aux")}
    if layers is not None:
        _check_layers(network, layers)
        expected, stored = (_within(tensors, layers) for tensors in (expected, stored))
    copy_state(expected, stored, path)
    return found


def copy_state(expected: Mapping[str, Tensor], stored: Mapping[str, Tensor], path: Path) -> None:
    """Copy the tensors of a weight file into those of a network, in place.

    Parameters
    ----------
    expected, stored : mapping
        Tensors by name, of the network and of the file.
    path : Path
        The file, for messages.

    Raises
    ------
    InputError
        If a name or a shape differs; names the first layer.
    """
    for name, tensor in expected.items():
        if name not in stored:
            other = next((f"; it has {one!r} of shape {tuple(stored[one].shape)}" for one in stored), "")
            raise InputError(
                f"weight file {path} has no layer {name!r} of shape {tuple(tensor.shape)}, which the network of its "
                f"card needs{other}"
            )
        if stored[name].shape != tensor.shape:
            raise InputError(
                f"layer {name!r} has shape {tuple(stored[name].shape)} in {path} "
                f"and {tuple(tensor.shape)} in the network of its card"
            )
    for name in stored:
        if name not in expected:
            raise InputError(
                f"weight file {path} has a layer {name!r} of shape {tuple(stored[name].shape)} that the network of its "
                "card lacks"
            )
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(stored[name])


def _within(tensors: Mapping[str, Tensor], layers: Sequence[str]) -> dict[str, Tensor]:
    starts = tuple(f"{layer}." for layer in layers)
    return {name: tensor for name, tensor in tensors.items() if name.startswith(starts)}


def _check_layers(network: nn.Module, layers: Sequence[str]) -> None:
    for layer in layers:
        if not _within(network.state_dict(), [layer]):
            known = [name for name, _ in network.named_children()]
            raise InputError(f"the network has no layer {layer!r}; {nearest(layer, known)}")
