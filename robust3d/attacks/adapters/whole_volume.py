# SPDX-License-Identifier: Apache-2.0
"""A pipeline as an ``nn.Module`` of the whole volume, for libraries that want one."""

from __future__ import annotations

from contextvars import copy_context
from typing import Any

import torch
from torch import Tensor, nn

from robust3d.foundation.errors import InputError
from robust3d.segment.pipeline import Pipeline, Target
from robust3d.volume.channels import as_image, by_channel


class WholeVolumeModel(nn.Module):
    """Fused logits of a whole volume in [0, 1], with the exact gradient.

    Forward is the fused prediction as logits, at the cost of one prediction. Backward turns any cotangent G into the
    gradient of the linear loss sum(G logits), which :meth:`Pipeline.loss_gradient` computes window by window: the
    vector-Jacobian product, exact, in the memory of one window batch. The network is frozen, so there are no
    gradients of parameters, and no second derivatives.

    Parameters
    ----------
    pipeline : Pipeline
        Model; freeze its normalisation statistics with :meth:`Pipeline.frozen_at` before.
    label : Tensor of int, shape (D1, D2, D3)
        Label of the volume, which the pipeline checks; neither forward nor backward depends on it.
    valid : (float, float)
        Values of the raw volume that 0 and 1 stand for, in its unit.
    target : str
        Stage of a cascade. Only ``"coarse"`` predicts the whole volume at once; no matter for a single stage.

    Attributes
    ----------
    forwards, backwards : int
        Predictions and gradients computed so far.
    """

    def __init__(
        self, pipeline: Pipeline, label: Tensor, valid: tuple[float, float], target: Target = "coarse"
    ) -> None:
        super().__init__()
        self.low, self.high = valid
        self.forwards = self.backwards = 0
        # In a tuple, so that a pipeline that is a module is not a child whose mode or device a library could change.
        self._held = (pipeline, label, target)
        # Libraries ask the first parameter for the device.
        self.device_of = nn.Parameter(torch.zeros((), device=pipeline.device), requires_grad=False)

    def to_unit(self, image: Tensor) -> Tensor:
        """Return a raw volume within ``valid`` as ``(1, C, D1, D2, D3)`` in [0, 1]."""
        return by_channel(((image - self.low) / (self.high - self.low)).clamp(0, 1))[None]

    def forward(self, unit: Tensor) -> Tensor:
        """Return logits ``(1, K, D1, D2, D3)`` of a volume ``(1, C, D1, D2, D3)`` in [0, 1].

        Raises
        ------
        InputError
            If it is not one volume, or the pipeline does not predict all of it at once.
        """
        if unit.ndim != 5 or unit.shape[0] != 1:
            raise InputError(f"one volume (1, C, D1, D2, D3) at a time; this has shape {tuple(unit.shape)}")
        logits: Tensor = _Fused.apply(unit, self)  # type: ignore[no-untyped-call]
        return logits

    def fused_logits(self, unit: Tensor) -> Tensor:
        """Return the logits, without a graph."""

        def stop(logits: Tensor, label: Tensor) -> Tensor:
            raise _Stop(logits.detach())

        self.forwards += 1
        try:
            self._loss_gradient(unit, stop)
        except _Stop as reached:
            if reached.logits.shape[2:] == unit.shape[2:]:
                return reached.logits
        raise InputError("this pipeline does not predict the whole volume at once; attack it with a card of our own")

    def pullback(self, unit: Tensor, cotangent: Tensor) -> Tensor:
        """Return the gradient of ``sum(cotangent * logits)`` with respect to ``unit``."""
        self.backwards += 1
        with torch.enable_grad():
            gradient = self._loss_gradient(unit, lambda logits, label: (logits * cotangent).sum())
        return by_channel(gradient * (self.high - self.low))[None]

    def _loss_gradient(self, unit: Tensor, loss: Any) -> Tensor:
        pipeline, label, target = self._held
        # Rounding must not carry a voxel at an end of the range beyond it, where the pipeline has no gradient.
        image = (self.low + (self.high - self.low) * as_image(unit.detach()[0])).clamp(self.low, self.high)
        return pipeline.loss_gradient(image, label, loss, mode="fused", windows="all", target=target)[1]


class _Stop(Exception):  # noqa: N818 (no error: it ends a pass that has shown its logits)
    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, unit: Tensor, model: WholeVolumeModel) -> Tensor:
        ctx.save_for_backward(unit)
        ctx.model = model
        # On a GPU autograd works in a thread of its own, where cost counters that stand open here are unknown.
        ctx.context = copy_context()
        return model.fused_logits(unit)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        (unit,) = ctx.saved_tensors
        return ctx.context.run(ctx.model.pullback, unit, cotangent), None
