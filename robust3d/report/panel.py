# SPDX-License-Identifier: Apache-2.0
"""The picture of one attack, after Fig. 5 of the chapter: image, prediction, and the difference magnified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from robust3d.foundation.files import replacing
from robust3d.report.slices import fullest_slice, seen
from robust3d.volume.volume import Volume

MAGNIFICATION = 5
"""Of the difference image, as in Fig. 5; grey is no change."""


def save_panel(
    clean: Volume,
    adversarial: Volume,
    masks: tuple[NDArray[Any], NDArray[Any]],
    path: Path,
    *,
    window: tuple[float, float],
    titles: tuple[str, str],
) -> None:
    """Write a picture of the axial slice with most of the organ, atomically.

    Parameters
    ----------
    clean : Volume
        Labelled case.
    adversarial : Volume
        The same case after the attack.
    masks : (ndarray, ndarray)
        Predictions for both.
    path : Path
        ``.png``, ``.svg`` or ``.pdf``.
    window : (float, float)
        Values shown as black and white, in the volume's unit.
    titles : (str, str)
        Over the clean and the adversarial image.
    """
    label = clean.known_label()
    axial = fullest_slice(label)
    origin = clean.image.clip(*window)
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, 3))
    aspect = clean.spacing[1] / clean.spacing[0]
    for axis, image, mask, title in zip(axes, (origin, adversarial.image), masks, titles, strict=False):
        axis.imshow(seen(image[:, :, axial]), cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect)
        _outline(axis, label[:, :, axial], "#d55e00")
        _outline(axis, mask[:, :, axial], "#56b4e9")
        axis.set_title(title, fontsize=10)
    scale = 255 / (window[1] - window[0])
    difference = (adversarial.image - origin)[:, :, axial] * scale * MAGNIFICATION + 128
    axes[2].imshow(seen(difference), cmap="gray", vmin=0, vmax=255, aspect=aspect)
    axes[2].set_title(f"difference x {MAGNIFICATION}", fontsize=10)
    for axis in axes:
        axis.set_axis_off()
    figure.supxlabel("orange: truth, blue: prediction", fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _outline(axis: Axes, plane: NDArray[Any], colour: str) -> None:
    if plane.any():
        axis.contour(seen(plane > 0).astype(float), levels=[0.5], colors=[colour], linewidths=1.2)
