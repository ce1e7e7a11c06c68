# SPDX-License-Identifier: Apache-2.0
"""A model with a grid of its own as a function of the raw volume: there by resampling, and back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.foundation.errors import InputError
from robust3d.losses.registry import Loss, find_loss
from robust3d.segment.fusion import largest_class
from robust3d.segment.label import label_beside
from robust3d.segment.model_grid import ModelGrid, Placement, Region
from robust3d.segment.pipeline import Mode, Statistics, Target, VolumeT, Windows, check_options
from robust3d.segment.prediction import Prediction
from robust3d.segment.regions import class_scores
from robust3d.segment.resample import nearest_labels
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.supply import volume_tensor
from robust3d.volume.channels import crop, spatial_shape
from robust3d.volume.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """``model`` on ``grid``; images, labels, perturbations and predictions stay on the grid of the volume.

    The mode ``"fused"`` is exact: the loss is that of the logits brought back to the volume's grid, within the box that
    the model sees. In ``"window_mean"`` each window has its loss on the model's grid, with the nearest label.

    Parameters
    ----------
    model : Segmenter
        Takes normalised voxels as they are, and fuses logits.
    grid : ModelGrid
        Where it works.
    regions : tuple of int
        Class of each of its regions, if it has regions; see :func:`class_scores`.
    placement : Placement or None
        How the volume lies on the grid; :meth:`place` sets it.
    region : Region or None
        What of the volume is seen, held fixed by :meth:`frozen_at`.
    """

    model: Segmenter
    grid: ModelGrid
    regions: tuple[int, ...] = ()
    placement: Placement | None = None
    region: Region | None = field(default=None, repr=False, compare=False)
    _placed: dict[Placement, Resampled] = field(default_factory=dict, repr=False, compare=False)
    """At most one, so that the same object serves all attacks on a case, and its clean prediction is kept."""

    @property
    def device(self) -> torch.device:
        """That of the model."""
        return self.model.device

    @property
    def classes(self) -> int:
        """Those of the model."""
        return self.model.classes

    @property
    def channels(self) -> int:
        """Those of the model."""
        return self.model.channels

    @property
    def stages(self) -> int:
        """One."""
        return 1

    @property
    def weights_sha256(self) -> str:
        """That of the model."""
        return self.model.weights_sha256

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready settings of grid and model; the same wherever a volume lies."""
        settings = {"model_grid": self.grid.settings(), "pipeline": self.model.settings()}
        return settings | ({"regions_class_order": list(self.regions)} if self.regions else {})

    def place(self, volume: Volume) -> Resampled:
        """Return this model for volumes with the axes and spacing of ``volume``."""
        placement = self.grid.place(volume)
        if placement == self.placement:
            return self
        if placement not in self._placed:
            self._placed.clear()
            self._placed[placement] = replace(self, placement=placement, region=None, _placed={})
        return self._placed[placement]

    def frozen_at(self, image: NDArray[Any] | Tensor) -> Self:
        """Return this pipeline with box, mask and normalisation statistics of ``image`` held fixed."""
        turned = self._known_placement().turn(self._tensor(image))
        return replace(self, region=self.grid.region(turned), _placed={})

    def predict(self, image: NDArray[Any] | Tensor) -> Prediction:
        """Segment a raw volume; outside the box that the model sees is background."""
        placement = self._known_placement()
        turned = placement.turn(self._tensor(image))
        region = self.region or self.grid.region(turned)
        seen = crop(turned, region.box)
        fused = self.model.probabilities(self._to_grid(region.normalise(seen)))
        mask = torch.zeros(spatial_shape(turned), dtype=torch.uint8)
        mask[region.box] = torch.from_numpy(largest_class(self._scores(self._from_grid(fused, seen), 0)))
        classes = placement.back(mask).numpy()
        return Prediction(mask=classes, raw=classes)

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
        """Return a loss and its gradient on the volume's grid; see :class:`robust3d.segment.pipeline.Pipeline`."""
        check_options(mode=mode, windows=windows, target=target, statistics=statistics)
        placement, raw, chosen = self._known_placement(), self._tensor(image), find_loss(loss)
        turned, truth = placement.turn(raw), placement.turn(label_beside(raw, label, self.classes))
        region = self.region or self.grid.region(turned)
        seen, truth = crop(turned, region.box), truth[region.box]

        def deployed(logits: Tensor, labels: Tensor) -> Tensor:
            if mode == "fused":
                logits, labels = self._from_grid(logits, seen), truth[None].long().to(logits.device)
            return chosen(self._scores(logits, 1), labels)

        with torch.enable_grad():
            leaf = region.normalise(seen).requires_grad_(True)
            there = self._to_grid(leaf)
        labels = nearest_labels(truth, spatial_shape(there))
        value, inner = self.model.loss_gradient(there.detach(), labels, deployed, mode, windows, target=target)
        (normalised,) = torch.autograd.grad(there, leaf, inner.to(there))
        through = statistics == "through" and self.region is None
        gradient = torch.zeros_like(turned)
        inside = region.backward(self.grid.intensity, seen, normalised, through=through)
        crop(gradient, region.box).copy_(inside)
        result = placement.back(gradient)
        return value, result.to(image.device) if isinstance(image, Tensor) else result.cpu().numpy()

    def on_grid(self, image: NDArray[Any] | Tensor) -> Tensor:
        """Return a raw volume as the model's windows see it: normalised and resampled."""
        turned = self._known_placement().turn(self._tensor(image))
        region = self.region or self.grid.region(turned)
        return self._to_grid(region.normalise(crop(turned, region.box)))

    def label_on_grid(self, volume: Volume) -> NDArray[np.uint8]:
        """Return the label of a case as the model's windows see it."""
        placement = self.place(volume)._known_placement()
        turned = placement.turn(torch.from_numpy(volume.image))
        box = self.grid.region(turned).box
        truth = placement.turn(torch.from_numpy(volume.known_label()))[box]
        return nearest_labels(truth, self.grid.shape(placement, truth)).numpy()

    def _to_grid(self, normalised: Tensor) -> Tensor:
        placement = self._known_placement()
        shape = self.grid.shape(placement, normalised)
        return self.grid.image(normalised, shape, placement.spacing, self.grid.spacing)

    def _from_grid(self, logits: Tensor, seen: Tensor) -> Tensor:
        return self.grid.logits(logits, spatial_shape(seen), self.grid.spacing, self._known_placement().spacing)

    def _scores(self, logits: Tensor, dim: int) -> Tensor:
        return class_scores(logits, self.regions, dim=dim) if self.regions else logits

    def _tensor(self, image: NDArray[Any] | Tensor) -> Tensor:
        return volume_tensor(image, self.device, self.classes, self.channels)

    def _known_placement(self) -> Placement:
        if self.placement is None:
            raise InputError(
                f"this model resamples volumes to {' x '.join(f'{edge:g}' for edge in self.grid.spacing)} mm and an "
                "array does not tell its spacing; place the model first: model.place(case)"
            )
        return self.placement
