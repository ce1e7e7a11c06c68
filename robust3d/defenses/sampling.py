# SPDX-License-Identifier: Apache-2.0
"""Training windows: drawn by a seed and the iteration alone, so that a resumed run sees the same ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from robust3d.defenses.batch import Batch
from robust3d.defenses.recipe import StageSettings
from robust3d.foundation.errors import InputError
from robust3d.segment.intensity import Intensity
from robust3d.volume.volume import Volume


@dataclass(frozen=True)
class _Case:
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    offset: float
    scale: float
    foreground: NDArray[np.intp]


class WindowSampler:
    """Draws batches of windows from cases held in memory.

    Parameters
    ----------
    cases : sequence of Volume
        Labelled cases.
    stage : StageSettings
        Window, sampling and augmentation.
    intensity : Intensity
        Truncation and normalisation.
    """

    def __init__(self, cases: Sequence[Volume], stage: StageSettings, intensity: Intensity) -> None:
        self.stage = stage
        self.cases = [_prepare(case, intensity, stage.window) for case in cases]

    def draw(self, size: int, *key: int, augment: bool = True, only: Collection[int] | None = None) -> Batch:
        """Return ``size`` windows, or some of them, with labels of uint8; equal keys give equal windows.

        Parameters
        ----------
        size : int
            Number of windows B.
        *key : int
            Seed and iteration.
        augment : bool
            Whether the stage's augmentation applies.
        only : collection of int, optional
            Numbers of the windows to return; the others are drawn, but not cut out.
        """
        random = np.random.default_rng(list(key))
        images, labels, offsets, scales = [], [], [], []
        for number in range(size):
            case = self.cases[random.integers(len(self.cases))]
            corner = self._corner(case, random)
            place = tuple(slice(start, start + self.stage.window) for start in corner)
            image, label = case.image[place], case.label[place]
            if augment and random.random() < self.stage.augmentation:
                image, label = _turn(image, label, random)
            if only is not None and number not in only:
                continue
            images.append(np.ascontiguousarray(image))
            labels.append(np.ascontiguousarray(label))
            offsets.append(case.offset)
            scales.append(case.scale)
        return Batch(
            image=torch.from_numpy(np.stack(images))[:, None],
            label=torch.from_numpy(np.stack(labels)),
            offset=torch.tensor(offsets, dtype=torch.float32).view(-1, 1, 1, 1, 1),
            scale=torch.tensor(scales, dtype=torch.float32).view(-1, 1, 1, 1, 1),
        )

    def _corner(self, case: _Case, random: np.random.Generator) -> NDArray[np.intp]:
        window = self.stage.window
        highest = np.array(case.image.shape) - window
        if self.stage.sampling == "foreground":
            # A window inside the box where the box is larger, around it where it is smaller.
            low, high = case.foreground.min(axis=0), case.foreground.max(axis=0) + 1 - window
            corner = random.integers(np.minimum(low, high), np.maximum(low, high) + 1)
        elif random.random() < self.stage.centred:
            corner = case.foreground[random.integers(len(case.foreground))] - window // 2
        else:
            corner = random.integers(0, highest + 1)
        return np.asarray(np.clip(corner, 0, highest), dtype=np.intp)


def _prepare(case: Volume, intensity: Intensity, window: int) -> _Case:
    label = case.known_label()
    image = torch.from_numpy(case.image)
    fixed = intensity.frozen_at(image)
    truncated = intensity.truncate(image).numpy()
    short = [max(0, window - length) for length in case.shape]
    if any(short):
        pads = [(missing // 2, missing - missing // 2) for missing in short]
        fill = float(truncated.min()) if intensity.padding is None else intensity.padding
        truncated, label = np.pad(truncated, pads, constant_values=fill), np.pad(label, pads)
    foreground = np.argwhere(label > 0)
    if len(foreground) == 0:
        raise InputError(f"training case {case.name} has an empty label; leave it out")
    return _Case(truncated, label, float(fixed.offset or 0.0), float(fixed.scale or 1.0), foreground)


def _turn(
    image: NDArray[np.float32], label: NDArray[np.uint8], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Rotate by a multiple of 90 degrees in each plane and flip each axis at random (the seed's augmentation)."""
    for plane in ((0, 1), (0, 2), (1, 2)):
        quarter_turns = int(random.integers(4))
        image, label = np.rot90(image, quarter_turns, plane), np.rot90(label, quarter_turns, plane)
    axes = tuple(axis for axis in range(3) if random.random() < 0.5)
    return np.flip(image, axes), np.flip(label, axes)
