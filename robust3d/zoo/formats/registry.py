# SPDX-License-Identifier: Apache-2.0
"""Formats by name, and from a path to a pipeline."""

from __future__ import annotations

from pathlib import Path

import torch

from robust3d.foundation.cards import read_card
from robust3d.foundation.digest import digest_file
from robust3d.foundation.errors import InputError
from robust3d.segment.precision import Precision
from robust3d.segment.resampled import Resampled
from robust3d.segment.segmenter import Segmenter
from robust3d.zoo.formats.bundle import read_bundle
from robust3d.zoo.formats.card import ForeignCard, FormatName
from robust3d.zoo.formats.deployed import ModelFormat, Source
from robust3d.zoo.formats.exported import read_exported
from robust3d.zoo.formats.factory import read_factory
from robust3d.zoo.formats.locate import is_nnunet
from robust3d.zoo.formats.nnunet.read import read_nnunet
from robust3d.zoo.formats.state_dict import read_state_dict
from robust3d.zoo.formats.torchscript import read_torchscript

FORMATS: dict[FormatName, ModelFormat] = {
    "monai-bundle": read_bundle,
    "state-dict": read_state_dict,
    "torchscript": read_torchscript,
    "torch-export": read_exported,
    "factory": read_factory,
    "nnunet": read_nnunet,
}
"""The key ``model.format`` of a card."""


def load_foreign(
    path: Path, device: torch.device, precision: Precision, *, programs: bool, code: bool
) -> Segmenter | Resampled:
    """Load a model of another format.

    Parameters
    ----------
    path : Path
        Bundle folder, results folder of nnU-Net, or card.
    device, precision
        See :func:`robust3d.zoo.load.load_model`.
    programs, code : bool
        What the user trusts; see :class:`Source`.

    Raises
    ------
    InputError
        If the model cannot be read without running what it holds, or does not fit; one sentence.
    """
    if path.is_dir():
        read = read_nnunet if is_nnunet(path) else read_bundle
        return read(Source(path, programs=programs)).pipeline(device, precision)
    card = read_card(path, ForeignCard)
    file = path.parent / card.model.file if card.model.file else path
    if not file.exists():
        raise InputError(f"card {path}: model.file {file} does not exist")
    if card.model.sha256 and file.is_file() and digest_file(file) != card.model.sha256:
        raise InputError(
            f"model file {file} has SHA-256 {digest_file(file)[:16]}..., its card says {card.model.sha256[:16]}...; "
            "fetch it anew"
        )
    source = Source(file, card, programs=programs, code=code)
    return FORMATS[card.model.format](source).pipeline(device, precision)
