# SPDX-License-Identifier: Apache-2.0
"""State dicts: a network by name and its weights as plain tensors, in a torch or safetensors file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from robust3d.foundation.errors import InputError
from robust3d.networks.monai import PREFIX, build_monai
from robust3d.networks.registry import build_deployed
from robust3d.networks.weights import copy_state
from robust3d.zoo.formats.deployed import Deployed, Source

_WRAPPERS = ("model", "state_dict", "model_state_dict", "network")
"""Keys under which training tools keep the weights in a checkpoint."""

_PARALLEL = "module."
"""What DataParallel puts before every name."""


def read_state_dict(source: Source) -> Deployed:
    """Build the network that the card names and load its weights."""
    deployment = source.deployment()
    if source.card is None or not source.card.network.name:
        raise InputError(f"the state dict {source.path} needs the key network.name in its card, such as 'monai:UNet'")
    card = source.card.network
    network = build(card.name, card.classes, card.options, card.channels)
    load_state(network, source.path)
    return Deployed(network, deployment, {"name": card.name, "classes": card.classes, "options": dict(card.options)})


def build(name: str, classes: int, options: Mapping[str, Any], channels: int = 1) -> nn.Module:
    """Build a network with fresh weights: ``monai:CLASS``, or one of robust3d's own."""
    if name.startswith(PREFIX):
        return build_monai(name, classes=classes, options=options, channels=channels)
    if channels > 1:
        raise InputError(
            f"network {name!r} takes one channel and its card says network.channels = {channels}; the networks "
            "'monai:CLASS' take several"
        )
    return build_deployed(name, classes=classes, **options)


def load_state(network: nn.Module, path: Path) -> None:
    """Load the weights of a file into a network, in place.

    Raises
    ------
    InputError
        If the file is not one of plain tensors, or belongs to another network (names the first layer).
    """
    copy_state(network.state_dict(), read_state(path), path)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file without unpickling anything else.

    Raises
    ------
    InputError
        If it is missing, damaged, or holds Python objects.
    """
    if not path.is_file():
        raise InputError(f"weight file {path} does not exist")
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"weight file {path} is damaged or holds Python objects, and unpickling these may run any code; where you "
            f"trust it, save the weights alone: torch.save(network.state_dict(), {path.name!r})"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"weight file {path} cannot be read as a state dict: {error}") from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(one, Tensor) for one in content.values()):
        raise InputError(
            f"weight file {path} holds no state dict, neither itself nor under {', '.join(_WRAPPERS)}; "
            "save network.state_dict()"
        )
    state = {str(name): tensor for name, tensor in content.items()}
    if all(name.startswith(_PARALLEL) for name in state):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}
    return state


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)
