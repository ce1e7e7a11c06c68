# SPDX-License-Identifier: Apache-2.0
"""Which models are paths, and which cards are those of another format."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError

BUNDLE_CONFIG = Path("configs") / "inference.json"
"""What makes a folder a MONAI bundle."""

NNUNET_PLANS = "plans.json"
"""What makes a folder the results of nnU-Net, whose own name says its trainer, plans and configuration."""

_SUFFIXES = (".toml", ".pt", ".pth", ".ts", ".pt2", ".safetensors")


def model_path(name: str, collections: Collections) -> Path | None:
    """Return the model folder or card that ``name`` is a path to; ``None`` for a name of the zoo, which comes first.

    Raises
    ------
    InputError
        If there is no such file, no model in the folder, or no card beside a model file.
    """
    parts = name.split("/")
    entries = collections.entries("zoo")
    if parts[0] in entries or "/".join(parts[:2]) in entries:
        return None
    path = Path(name)
    if path.is_dir():
        if (path / BUNDLE_CONFIG).is_file() or is_nnunet(path):
            return path
        if (path / "card.toml").is_file():
            return path / "card.toml"
        if os.sep in name or name == ".":
            raise InputError(
                f"model folder {path} is no MONAI bundle ({BUNDLE_CONFIG}), no results folder of nnU-Net "
                f"({NNUNET_PLANS}) and has no card.toml"
            )
        return None
    if path.suffix not in _SUFFIXES:
        return None
    if not path.is_file():
        raise InputError(f"model {path} does not exist")
    card = path.with_suffix(".toml")
    if not card.is_file():
        raise InputError(
            f"model file {path} does not say how it is deployed; write {card} with its format, window, grid and "
            "intensity (docs/models.md)"
        )
    return card


def is_nnunet(path: Path) -> bool:
    """Return whether a folder holds the results of nnU-Net: its plans, or folds without them."""
    return (path / NNUNET_PLANS).is_file() or any(path.glob("fold_*/*.pth"))


def is_foreign(path: Path) -> bool:
    """Return whether a path is a model folder of another tool, or a card with the key ``model.format``."""
    if path.is_dir():
        return True
    try:
        about = tomllib.loads(path.read_text(encoding="utf-8")).get("model")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        # Told by whoever reads the card.
        return False
    return isinstance(about, dict) and "format" in about
