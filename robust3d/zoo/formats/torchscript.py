# SPDX-License-Identifier: Apache-2.0
"""TorchScript files: a network's program and weights, which Python has no part in."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from robust3d.foundation.digest import digest_file
from robust3d.foundation.errors import InputError
from robust3d.zoo.formats.deployed import Deployed, Source


def read_torchscript(source: Source) -> Deployed:
    """Load the program; the identity of the model is the hash of the whole file."""
    deployment = source.deployment()
    source.check_program()
    return Deployed(
        load_program(source.path), deployment, {"format": "torchscript"}, weights_sha256=digest_file(source.path)
    )


def load_program(path: Path) -> nn.Module:
    """Return the module of a TorchScript file, on the CPU.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        module: nn.Module = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"model file {path} is no TorchScript file ({str(error).splitlines()[0]}); write it with torch.jit.save"
        ) from error
    return module
