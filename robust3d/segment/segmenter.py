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

from robust3d.foundation.errors import InputError
from robust3d.losses.registry import Loss, find_loss
from robust3d.segment.components import drop_small_components
from robust3d.segment.fusion import Fusion, FusionKind, fuse
from robust3d.segment.gradient import fused_gradient, window_mean_gradient
from robust3d.segment.grid import Grid, Shape, overlap
from robust3d.segment.intensity import Intensity
from robust3d.segment.network import (
    Predictor,
    check_stride,
    device_of,
    digest_network,
    dtype_of,
    evaluating,
    window_logits,
)
from robust3d.segment.pipeline import Mode, Statistics, Target, VolumeT, Windows, check_options
from robust3d.segment.precision import Precision, fast_copy
from robust3d.segment.prediction import Prediction
from robust3d.segment.windows import Weighting, WindowPlan, check_window
from robust3d.volume.labels import IGNORE


@dataclass(frozen=True, kw_only=True)
class Segmenter:
    """A sliding-window model as a function of the raw volume; make one with :meth:`from_network`."""

    network: Predictor
    window: Shape
    grid: Grid
    intensity: Intensity
    classes: int
    fusion: Fusion
    window_batch: int
    min_component: float
    weights_hash: str | None = None
    architecture: Mapping[str, Any]
    fast: Predictor | None = None
    """Copy that gradients go through instead of ``network``."""

    @classmethod
    def from_network(
        cls,
        network: Predictor,
        *,
        window: int | Sequence[int],
        grid: Grid,
        intensity: Intensity,
        fusion: FusionKind = "probabilities",
        weighting: Weighting = "constant",
        window_batch: int = 16,
        min_component: float = 0.0,
        weights_sha256: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        precision: Precision = "exact",
    ) -> Segmenter:
        """Wrap a network.

        Parameters
        ----------
        network : nn.Module or callable
            Maps normalised windows ``(B, 1, d, h, w)`` to **logits** ``(B, K, d, h, w)``. A module is used where
            its parameters are (CPU or GPU), always in eval mode, and left as it was.
        window : int or three ints
            Window edges in voxels.
        grid : Grid
            ``seed(n)``, ``overlap(r)`` or ``step(r)``.
        intensity : Intensity
            ``hu_window(low, high)``, ``unit_window``, ``dataset_zscore`` or ``zscore``.
        fusion, weighting : str
            What is averaged where windows overlap, and with which weights; see :class:`Fusion`.
        window_batch : int
            Windows a forward pass; bounds the memory.
        min_component : float
            Parts smaller than this fraction of a class's prediction are dropped from the mask.
        weights_sha256 : str, optional
            Identity of the weights in results; the hash of the module's state if not given.
        architecture : mapping, optional
            JSON-ready description of the network in results; its class by default. Networks that share weights but
            not their wiring must differ in it.
        precision : str
            ``"fast"``: gradients through a copy in bfloat16 where the device has instructions for it, twice as fast.
            Predictions, and so every DSC, stay in the network's own precision.

        Raises
        ------
        InputError
            If the network does not answer one window with logits of its size.
        """
        edges = check_window(window)
        check_stride(network, edges)
        if window_batch < 1:
            raise InputError(f"window_batch must be at least 1, not {window_batch}")
        probe = torch.zeros((1, *edges), device=device_of(network))
        with evaluating(network), torch.no_grad():
            classes = window_logits(network, probe, dtype=probe.dtype).shape[1]
        return cls(
            network=network,
            window=edges,
            grid=grid,
            intensity=intensity,
            classes=classes,
            fusion=Fusion(fusion, weighting),
            window_batch=window_batch,
            min_component=min_component,
            weights_hash=weights_sha256,
            architecture=architecture or {"class": type(network).__qualname__},
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
        return {
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
            fused = fuse(plan, self._normalised(plan, raw), self.network, self.fusion, self.window_batch)
        return fused[(slice(None), *plan.inner)]

    def predict(self, image: NDArray[Any] | Tensor) -> Prediction:
        """Segment a raw volume ``(D1, D2, D3)``."""
        return self.prediction_of(self.probabilities(image))

    def prediction_of(self, fused: Tensor) -> Prediction:
        """Return the masks of a fused prediction ``(K, D1, D2, D3)``, in any scale that keeps the order of classes."""
        raw = fused.argmax(dim=0).to(torch.uint8).cpu().numpy()
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
        function = find_loss(loss)
        raw = self._tensor(image)
        given = label if isinstance(label, Tensor) else torch.from_numpy(np.ascontiguousarray(label))
        truth = given.to(raw.device).long()
        if truth.shape != raw.shape:
            raise InputError(f"image has shape {tuple(raw.shape)} and label {tuple(truth.shape)}; they must be equal")
        counted = truth[truth != IGNORE]
        if len(counted) and (int(counted.max()) >= self.classes or int(counted.min()) < 0):
            raise InputError(
                f"label holds classes {int(counted.min())} to {int(counted.max())}, "
                f"the network has 0 to {self.classes - 1}"
            )
        plan = self._plan(raw)
        volume = self._normalised(plan, raw)
        padded_truth = plan.padded(truth, 0)
        attacked = plan
        if windows == "skip_background":
            attacked = plan.only((padded_truth > 0) & (padded_truth != IGNORE))
        elif windows == "tiling":
            attacked = WindowPlan.of(plan.shape, self.window, overlap(0.0))
        with evaluating(self.differentiated):
            if mode == "window_mean":
                value, gradient = window_mean_gradient(
                    attacked, volume, padded_truth, self.differentiated, function, self.window_batch
                )
            else:
                value, gradient = fused_gradient(
                    plan,
                    volume,
                    truth,
                    self.differentiated,
                    function,
                    self.window_batch,
                    fusion=self.fusion,
                    attacked=attacked,
                    influential=windows == "influential",
                )
        inner = gradient[plan.inner]
        through = statistics == "through"
        padding = float(gradient.double().sum() - inner.double().sum()) if through and plan.is_padded else 0.0
        gradient = self.intensity.backward(raw, inner, through=through, padding=padding)
        return value, gradient.to(image.device) if isinstance(image, Tensor) else gradient.cpu().numpy()

    def _tensor(self, image: NDArray[Any] | Tensor) -> Tensor:
        tensor = image if isinstance(image, Tensor) else torch.from_numpy(np.ascontiguousarray(image))
        if tensor.ndim != 3:
            raise InputError(f"a volume has three axes (D1, D2, D3); this one has shape {tuple(tensor.shape)}")
        dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        return tensor.detach().to(self.device, dtype)

    def _plan(self, raw: Tensor) -> WindowPlan:
        return WindowPlan.of((raw.shape[0], raw.shape[1], raw.shape[2]), self.window, self.grid)

    def _normalised(self, plan: WindowPlan, raw: Tensor) -> Tensor:
        fixed = self.intensity.frozen_at(raw)
        normalised = fixed.normalise(raw)
        return plan.padded(normalised, fixed.normalised_padding(raw)) if plan.is_padded else normalised
