# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/models.md, and the files that they speak of."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.networks.nets import UNet
from torch import nn

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)


def card(name: str) -> str:
    """The card of a format in the docs."""
    return next(block for block in blocks("toml") if f'format = "{name}"' in block)


def unet(channels: int = 2) -> nn.Module:
    torch.manual_seed(4)
    return UNet(spatial_dims=3, in_channels=1, out_channels=channels, channels=[8, 16], strides=[2]).eval()


def write_bundle(folder: Path, network: nn.Module, old: str = "", new: str = "") -> Path:
    """The bundle of the docs, with one text of its configuration replaced."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    text = blocks("json")[0]
    assert old in text
    (folder / "configs" / "inference.json").write_text(text.replace(old, new) if old else text)
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder


def volume(shape: tuple[int, int, int] = (21, 18, 20)) -> np.ndarray:
    return np.random.default_rng(5).normal(40, 60, shape).astype(np.float32)


def write_case(folder: Path) -> None:
    image = volume()
    nib.Nifti1Image(image, np.eye(4)).to_filename(folder / "ct.nii.gz")
    nib.Nifti1Image((image > 60).astype(np.uint8), np.eye(4)).to_filename(folder / "seg.nii.gz")
