# SPDX-License-Identifier: Apache-2.0
"""SHA-256 of settings, arrays, tensors and files: the identity of everything in a result row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def canonical_json(content: Any) -> str:
    """Return JSON with sorted keys and no spaces, so that equal content has equal text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_json(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON of ``content``."""
    return hashlib.sha256(canonical_json(content).encode("ascii")).hexdigest()


def mix_seed(*parts: int | str) -> int:
    """Mix integers and texts into one 60-bit seed, so that neighbouring seeds share no random stream."""
    return int(digest_json(list(parts))[:15], 16)


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_arrays(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 of the dtypes, shapes and little-endian bytes of ``arrays``."""
    state = hashlib.sha256()
    for array in arrays:
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        state.update(f"{little.dtype.str}{little.shape}".encode("ascii"))
        state.update(little.data)
    return state.hexdigest()


def digest_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of the names, dtypes, shapes and bytes of tensors, whatever their order and device."""
    import torch

    state = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        state.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        # As bytes, since numpy has no bfloat16.
        state.update(tensor.flatten().contiguous().view(torch.uint8).numpy().data)
    return state.hexdigest()
