# SPDX-License-Identifier: Apache-2.0
"""Coarse-to-fine cascade: the coarse stage finds a box, the fine stage segments inside it (Eq. 4 and 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.foundation.digest import digest_json
from robust3d.foundation.errors import InputError
from robust3d.losses.registry import Loss, find_loss
from robust3d.segment.components import drop_small_components
from robust3d.segment.grid import Shape
from robust3d.segment.pipeline import Mode, Statistics, Target, VolumeT, Windows, check_options, windows_of_coarse
from robust3d.segment.prediction import Box, Prediction
from robust3d.segment.segmenter import Segmenter
from robust3d.volume.channels import crop
from robust3d.volume.labels import IGNORE


@dataclass(frozen=True, kw_only=True)
class CoarseToFine:
    """Two segmenters in a row.

    Parameters
    ----------
    coarse, fine : Segmenter
        The stages; both see the intensity statistics of the whole volume.
    margin : (int, int, int)
        Padding m of the box in voxels along each axis (the chapter does not give its value).
    min_component : float
        Component filter of the final mask.
    align : int
        The box starts and ends at multiples of so many voxels, where the volume allows. A network with pooling is
        equivariant to shifts by its total stride alone: in a box at any other place the fine stage sees another
        sampling phase than the coarse one, which blunts perturbations by accident, not by robustness.
    """

    coarse: Segmenter
    fine: Segmenter
    margin: Shape
    min_component: float = 0.0
    align: int = 1

    def __post_init__(self) -> None:
        for what in ("classes", "channels"):
            first, second = getattr(self.coarse, what), getattr(self.fine, what)
            if first != second:
                raise InputError(
                    f"the coarse stage has {first} {what} and the fine stage {second}; a cascade needs equal {what}"
                )

    @property
    def device(self) -> torch.device:
        """Device of the coarse network."""
        return self.coarse.device

    @property
    def classes(self) -> int:
        """Number of classes, background included."""
        return self.coarse.classes

    @property
    def channels(self) -> int:
        """Number of channels of a volume."""
        return self.coarse.channels

    @property
    def stages(self) -> int:
        """Two."""
        return 2

    @property
    def weights_sha256(self) -> str:
        """Hash of both stages' weights."""
        return digest_json([self.coarse.weights_sha256, self.fine.weights_sha256])

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready settings of everything but the weights."""
        return {
            "coarse": self.coarse.settings(),
            "fine": self.fine.settings(),
            "margin": list(self.margin),
            "min_component": self.min_component,
            "align": self.align,
        }

    def frozen_at(self, image: NDArray[Any] | Tensor) -> Self:
        """Return this cascade with the statistics of ``image`` held fixed in both stages."""
        return replace(self, coarse=self.coarse.frozen_at(image), fine=self.fine.frozen_at(image))

    def predict(self, image: NDArray[Any] | Tensor) -> Prediction:
        """Segment a raw volume; an empty coarse prediction is kept, with ``box = None`` and ``coarse_empty``."""
        coarse = self.coarse.predict(image)
        box = self.box(coarse)
        if box is None:
            return replace(coarse, coarse_empty=True)
        fine = self.fine.frozen_at(image).predict(crop(image, box))
        raw = np.zeros_like(coarse.raw)
        raw[box] = fine.raw
        return Prediction(mask=drop_small_components(raw, self.min_component), raw=raw, box=box)

    def box(self, coarse: Prediction) -> Box | None:
        """Return the cuboid around the coarse foreground plus margin, ``None`` if there is no foreground.

        A box smaller than the fine window grows to it where the volume allows, so that real voxels fill the
        window instead of padding; and then to multiples of ``align``.
        """
        return self.box_around(coarse.mask > 0)

    def box_around(self, organ: NDArray[np.bool_]) -> Box | None:
        """Return the box of an organ given as a mask; see :meth:`box`."""
        foreground = np.argwhere(organ)
        if len(foreground) == 0:
            return None
        places = []
        for axis, length in enumerate(organ.shape):
            low = max(0, int(foreground[:, axis].min()) - self.margin[axis])
            high = min(length, int(foreground[:, axis].max()) + 1 + self.margin[axis])
            missing = self.fine.window[axis] - (high - low)
            if missing > 0:
                low = max(0, min(low - missing // 2, length - self.fine.window[axis]))
                high = min(length, low + self.fine.window[axis])
            low -= low % self.align
            places.append(slice(low, min(length, high + -high % self.align)))
        return places[0], places[1], places[2]

    def loss_gradient(
        self,
        image: VolumeT,
        label: NDArray[Any] | Tensor,
        loss: str | Loss = "ce",
        mode: Mode = "window_mean",
        windows: Windows = "all",
        *,
        target: Target = "c2f",
        statistics: Statistics = "frozen",
    ) -> tuple[float, VolumeT]:
        """Return the loss of the targeted stages and its gradient; see :class:`robust3d.segment.pipeline.Pipeline`.

        The box of the fine stage comes from the coarse prediction of ``image``; choosing it has no gradient.
        Where that prediction is empty, it is the box of the label: the fine stage loses nothing now, but an attacker
        keeps it lost should the coarse one recover, and the loss does not fall just when the attack succeeds.
        """
        check_options(mode=mode, windows=windows, target=target, statistics=statistics)
        if statistics == "through" and target != "coarse":
            raise InputError("statistics 'through' needs the target 'coarse': a box has no statistics of its own")
        if target == "coarse":
            return self.coarse.loss_gradient(image, label, loss, mode, windows, statistics=statistics)
        if target == "fine":
            value, gradient, coarse = 0.0, _zeros_like(image), self.coarse.predict(image)
        else:
            value, gradient, coarse = self.coarse.gradient_and_prediction(
                image, label, find_loss(loss), mode, windows_of_coarse(windows)
            )
        box = self.box(coarse)
        if box is None:
            truth = label.cpu().numpy() if isinstance(label, Tensor) else label
            box = self.box_around((truth > 0) & (truth != IGNORE))
        if box is not None:
            fine = self.fine.frozen_at(image)
            fine_value, fine_gradient = fine.loss_gradient(crop(image, box), label[box], loss, mode, windows)
            value += fine_value
            inside = crop(gradient, box)
            inside += fine_gradient
        return value, gradient


def _zeros_like(image: VolumeT) -> VolumeT:
    """Return zeros of the shape, device and precision of a gradient for ``image``, which may hold integers."""
    if isinstance(image, Tensor):
        double = image.dtype == torch.float64
        return torch.zeros(image.shape, dtype=torch.float64 if double else torch.float32, device=image.device)
    return np.zeros(image.shape, np.float64 if image.dtype == np.float64 else np.float32)
