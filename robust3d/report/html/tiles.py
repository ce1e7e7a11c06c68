# SPDX-License-Identifier: Apache-2.0
"""Slices as PNG tiles: image, prediction, magnified difference (Fig. 5), and truth with prediction (Fig. 4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from robust3d.report.panel import MAGNIFICATION
from robust3d.report.slices import seen
from robust3d.volume.labels import IGNORE

_WIDTH = 160
"""Of a tile on the page, CSS pixels."""

_LARGEST = 320
"""Pixels of a tile's file along an edge; larger slices are thinned out."""

_TRUTH, _PREDICTION, _OVERLAP = (np.array(one, np.float32) for one in ((214, 39, 40), (60, 170, 60), (255, 235, 60)))
"""Red, green and yellow as in Fig. 4, dark, middle and bright, so that they differ without colour too."""


@dataclass(frozen=True)
class Tile:
    """A picture on a page: file name, size in CSS pixels (in proportion to millimetres) and text for who cannot see it.

    Parameters
    ----------
    file : str
        Relative to the page.
    width, height : int
        CSS pixels.
    alt : str
        What it shows.
    """

    file: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Tiler:
    """Writes the tiles of one case.

    Parameters
    ----------
    folder : Path
        Where the files go.
    prefix : str
        Of the tiles' paths on the page.
    window : (float, float)
        Values shown as black and white, in the volume's unit.
    spacing : (float, float)
        Voxel size in mm along the first two axes.
    """

    folder: Path
    prefix: str
    window: tuple[float, float]
    spacing: tuple[float, float]

    def image(self, name: str, plane: NDArray[Any], alt: str) -> Tile:
        """Write a slice as it is seen in the window."""
        return self._write(name, self._grey(plane), alt)

    def prediction(self, name: str, mask: NDArray[Any], alt: str) -> Tile:
        """Write a mask, background black and the highest class white."""
        top = max(1, int(mask.max()))
        return self._write(name, mask.astype(np.float32) * (255 / top), alt)

    def difference(self, name: str, attacked: NDArray[Any], origin: NDArray[Any], alt: str) -> Tile:
        """Write the difference of two slices on the window's 256 grey levels, magnified and shifted by 128."""
        scale = 255 / (self.window[1] - self.window[0])
        return self._write(name, (attacked - origin) * scale * MAGNIFICATION + 128, alt)

    def overlay(self, name: str, plane: NDArray[Any], label: NDArray[Any], mask: NDArray[Any], alt: str) -> Tile:
        """Write a slice with the truth red, the prediction green and their overlap yellow; none on ignored voxels."""
        label, mask = (np.where(label == IGNORE, 0, one) for one in (label, mask))
        picture = np.repeat(self._grey(plane)[..., None], 3, axis=2)
        for where, colour in (
            ((label > 0) & (mask == 0), _TRUTH),
            ((label == 0) & (mask > 0), _PREDICTION),
            ((label > 0) & (mask > 0), _OVERLAP),
        ):
            picture[where] = 0.4 * picture[where] + 0.6 * colour
        return self._write(name, picture, alt)

    def _grey(self, plane: NDArray[Any]) -> NDArray[np.float32]:
        low, high = self.window
        return ((plane.astype(np.float32) - low) * (255 / (high - low))).clip(0, 255)

    def _write(self, name: str, picture: NDArray[Any], alt: str) -> Tile:
        across, up = picture.shape[:2]
        shown = seen(picture)
        step = -(-max(across, up) // _LARGEST)
        pixels = shown[::step, ::step].clip(0, 255).round().astype(np.uint8)
        colours = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        imsave(self.folder / f"{name}.png", colours)
        height = round(_WIDTH * up * self.spacing[1] / (across * self.spacing[0]))
        return Tile(f"{self.prefix}{name}.png", _WIDTH, height, alt)
