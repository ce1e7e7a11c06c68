# SPDX-License-Identifier: Apache-2.0
"""Segmenter: intensity, window grid, network, fusion and component filter as one pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.losses.registry import Loss, find_loss
from robust3d.segment.batch import WindowBatch
from robust3d.segment.channel_intensity import Scheme, for_channels
from robust3d.segment.checks import checked
from robust3d.segment.components import drop_small_components
from robust3d.segment.fusion import FusedMean, Fusion, FusionKind, fuse, largest_class
from robust3d.segment.gradient import fused_gradient, window_mean_gradient
from robust3d.segment.grid import Grid, Shape
from robust3d.segment.influence import SHARES
from robust3d.segment.label import label_beside
from robust3d.segment.network import (
    Predictor,
    check_stride,
    count_classes,
    device_of,
    digest_network,
    dtype_of,
    evaluating,
)
from robust3d.segment.normalised import normalised_volume, raw_gradient
from robust3d.segment.outputs import Outputs, describe
from robust3d.segment.pipeline import Mode, Statistics, Target, VolumeT, Windows, check_options
from robust3d.segment.precision import Precision, fast_copy
from robust3d.segment.prediction import Prediction
from robust3d.segment.supply import volume_tensor
from robust3d.segment.windows import Weighting, WindowPlan, check_window
from robust3d.volume.channels import spatial_shape


@dataclass(frozen=True, kw_only=True)
class Segmenter:
    """A sliding-window model as a function of the raw volume; make one with :meth:`from_network`."""

    network: Predictor
    window: Shape
    grid: Grid
    intensity: Scheme
    classes: int
    channels: int = 1
    fusion: Fusion
    batch: WindowBatch
    min_component: float
    weights_hash: str | None = None
    architecture: Mapping[str, Any]
    fast: Predictor | None = None
    """Copy that gradients go through instead of ``network``, if they do."""

    @classmethod
    def from_network(
        cls,
        network: Predictor,
        *,
        window: int | Sequence[int],
        grid: Grid,
        intensity: Scheme,
        channels: int = 1,
        fusion: FusionKind = "probabilities",
        weighting: Weighting = "constant",
        window_batch: int | None = None,
        min_component: float = 0.0,
        weights_sha256: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        precision: Precision = "exact",
        outputs: Outputs = "logits",
        checks: bool = True,
    ) -> Segmenter:
        """Wrap a network.

        Parameters
        ----------
        network : nn.Module or callable
            Maps normalised windows ``(B, C, d, h, w)`` to ``outputs`` ``(B, K, d, h, w)``. A module is used where
            its parameters are (CPU or GPU), always in eval mode, and left as it was.
        window : int or three ints
            Window edges in voxels.
        grid : Grid
            ``seed(n)``, ``overlap(r)`` or ``step(r)``.
        intensity : Intensity
            ``hu_window(low, high)``, ``unit_window``, ``dataset_zscore`` or ``zscore``; the same for every channel,
            each with its own statistics, unless it is a :class:`ChannelIntensity`.
        channels : int
            Of a volume, C.
        fusion, weighting : str
            What is averaged where windows overlap, and with which weights; see :class:`Fusion`.
        window_batch : int, optional
            Windows a pass; by default as many as :class:`WindowBatch` finds to fit the device.
        min_component : float
            Parts smaller than this fraction of a class's prediction are dropped from the mask.
        weights_sha256 : str, optional
            Identity of the weights in results; the hash of the module's state if not given.
        architecture : mapping, optional
            JSON-ready description of the network in results, of its wiring too; its class by default.
        precision : str
            ``"fast"``: gradients through a copy in bfloat16 where the device has instructions for it, twice as fast.
            Predictions, and so every DSC, stay in the network's own precision.
        outputs : str
            ``"logits"`` or ``"probabilities"``; a single channel is the foreground's, of a sigmoid.
        checks : bool
            Whether :func:`robust3d.segment.checks.checked` tries it first.

        Raises
        ------
        InputError
            If the network does not answer one window with outputs of its size, or a check fails.
        """
        edges = check_window(window)
        check_stride(network, edges)
        architecture = describe(network, architecture, outputs)
        if checks:
            network = checked(network, edges, outputs=outputs, window_batch=window_batch, channels=channels)
        return cls(
            network=network,
            window=edges,
            grid=grid,
            intensity=for_channels(intensity, channels),
            channels=channels,
            classes=count_classes(network, edges, channels),
            fusion=Fusion(fusion, weighting),
            batch=WindowBatch(window_batch, channels),
            min_component=min_component,
            weights_hash=weights_sha256,
            architecture=architecture,
            fast=fast_copy(network) if precision == "fast" else None,
        )

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return device_of(self.network)

    @property
    def differentiated(self) -> Predictor:
        """Network that gradients go through."""
        return self.network if self.fast is None else self.fast

    @property
    def stages(self) -> int:
        """One."""
        return 1

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights, as they are now."""
        return self.weights_hash or digest_network(self.network)

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready settings of everything but the weights; the batch size does not count."""
        several = {"channels": self.channels} if self.channels > 1 else {}
        return several | {
            "network": dict(self.architecture),
            "gradients": str(dtype_of(self.differentiated, torch.float32)).removeprefix("torch."),
            "window": list(self.window),
            "grid": str(self.grid),
            "intensity": self.intensity.settings(),
            "fusion": self.fusion.kind,
            "weighting": self.fusion.weighting,
            "min_component": self.min_component,
        }

    def frozen_at(self, image: NDArray[Any] | Tensor) -> Self:
        """Return this segmenter with the normalisation statistics of ``image`` held fixed."""
        return replace(self, intensity=self.intensity.frozen_at(self._tensor(image)))

    def probabilities(self, image: NDArray[Any] | Tensor) -> Tensor:
        """Return the fused prediction ``(K, D1, D2, D3)`` in the fusion's own scale (logits for ``"logits"``)."""
        raw = self._tensor(image)
        plan = self._plan(raw)
        with evaluating(self.network):
            fused = fuse(plan, normalised_volume(self.intensity, plan, raw), self.network, self.fusion, self.batch)
        return fused[(slice(None), *plan.inner)]

    def predict(self, image: NDArray[Any] | Tensor) -> Prediction:
        """Segment a raw volume."""
        return self.prediction_of(largest_class(self.probabilities(image)))

    def prediction_of(self, raw: NDArray[np.uint8]) -> Prediction:
        """Return the prediction with the class of each voxel given, before postprocessing."""
        return Prediction(mask=drop_small_components(raw, self.min_component), raw=raw)

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
        """Return a loss and its gradient per unit of the volume; see :class:`robust3d.segment.pipeline.Pipeline`."""
        check_options(mode=mode, windows=windows, target=target, statistics=statistics)
        raw = self._tensor(image)
        truth = label_beside(raw, label, self.classes)
        plan = self._plan(raw)
        value, gradient = self._normalised_gradient(plan, raw, truth, find_loss(loss), mode, windows)
        result = raw_gradient(self.intensity, plan, raw, gradient, through=statistics == "through")
        return value, _like(result, image)

    def gradient_and_prediction(
        self,
        image: VolumeT,
        label: NDArray[Any] | Tensor,
        loss: Loss,
        mode: Mode = "window_mean",
        windows: Windows = "all",
    ) -> tuple[float, VolumeT, Prediction]:
        """Return loss, gradient and prediction at one point, from one pass where the gradient's own passes all windows.

        It does so in mode ``"fused"``, and in ``"window_mean"`` through all windows without a fast copy.
        """
        raw = self._tensor(image)
        truth = label_beside(raw, label, self.classes)
        plan: WindowPlan = self._plan(raw)
        seen: list[NDArray[np.uint8]] = []
        mean = None
        if mode == "fused" and self.fusion.kind != "vote":

            def watched(logits: Tensor, truth: Tensor) -> Tensor:
                seen.append(largest_class(logits.detach()[0]))
                return loss(logits, truth)

            value, gradient = self._normalised_gradient(plan, raw, truth, watched, mode, windows)
        else:
            if mode == "window_mean" and windows == "all" and self.fast is None:
                mean = FusedMean(plan, self.fusion, raw)
            value, gradient = self._normalised_gradient(plan, raw, truth, loss, mode, windows, mean)
        result = _like(raw_gradient(self.intensity, plan, raw, gradient), image)
        if mean is not None:
            seen.append(largest_class(mean.result()[(slice(None), *plan.inner)]))
        return value, result, self.prediction_of(seen[0]) if seen else self.predict(image)

    def _normalised_gradient(
        self,
        plan: WindowPlan,
        raw: Tensor,
        truth: Tensor,
        loss: Loss,
        mode: Mode,
        windows: Windows,
        fused: FusedMean | None = None,
    ) -> tuple[float, Tensor]:
        """Return loss and gradient with respect to the normalised and padded volume."""
        # Fast gradients keep half as much: neither the batch nor the graphs kept may depend on what came first.
        self.batch.known(self.network, self.window)
        self.batch.graph_bytes(self.network, self.window)
        volume = normalised_volume(self.intensity, plan, raw)
        padded_truth = plan.padded(truth, 0)
        attacked = plan.attacked(windows, padded_truth)
        network = self.differentiated
        with evaluating(network):
            if mode == "window_mean":
                return window_mean_gradient(attacked, volume, padded_truth, network, loss, self.batch, fused=fused)
            return fused_gradient(
                plan,
                volume,
                truth,
                network,
                loss,
                self.batch,
                fusion=self.fusion,
                attacked=attacked,
                share=SHARES.get(windows),
            )

    def _tensor(self, image: NDArray[Any] | Tensor) -> Tensor:
        return volume_tensor(image, self.device, self.classes, self.channels)

    def _plan(self, raw: Tensor) -> WindowPlan:
        return WindowPlan.of(spatial_shape(raw), self.window, self.grid)


def _like(gradient: Tensor, image: VolumeT) -> VolumeT:
    return gradient.to(image.device) if isinstance(image, Tensor) else gradient.cpu().numpy()
