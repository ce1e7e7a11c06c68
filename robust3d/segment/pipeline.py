# SPDX-License-Identifier: Apache-2.0
"""Pipeline: the protocol that attacks, defenses and benchmarks see of any model."""

from __future__ import annotations

from typing import Any, Literal, Protocol, Self, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robust3d.foundation.errors import InputError, nearest
from robust3d.losses.registry import Loss
from robust3d.segment.influence import SHARES
from robust3d.segment.prediction import Prediction

Mode = Literal["window_mean", "fused"]
Windows = Literal["all", "skip_background", "influential", "decisive", "leading", "tiling"]
Target = Literal["coarse", "fine", "c2f"]
Statistics = Literal["frozen", "through"]


def windows_of_coarse(windows: Windows) -> Windows:
    """Return the windows of a coarse stage where a cascade is attacked as a whole through ``windows``.

    The coarse stage only places the box of the fine one, whose prediction counts: few of its windows serve as well.
    """
    return "leading" if windows == "decisive" else windows


def check_options(*, mode: str, windows: str, target: str, statistics: str) -> None:
    """Refuse an unknown option of :meth:`Pipeline.loss_gradient`, naming the nearest.

    Raises
    ------
    InputError
        If one is unknown.
    """
    options = (("mode", mode, Mode), ("windows", windows, Windows), ("target", target, Target))
    for option, value, known in (*options, ("statistics", statistics, Statistics)):
        if value not in get_args(known):
            raise InputError(f"unknown {option} {value!r}; {nearest(value, get_args(known))}")
    if windows == "tiling" and mode == "fused":
        raise InputError("windows 'tiling' are not those of the fused prediction; use mode 'window_mean'")
    if windows in SHARES and mode == "window_mean":
        raise InputError(f"windows {windows!r} are chosen by the fused prediction; use mode 'fused'")


VolumeT = TypeVar("VolumeT", NDArray[np.float32], NDArray[np.float64], Tensor)


class Pipeline(Protocol):
    """A whole deployed segmentation pipeline as a function of the raw volume."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def classes(self) -> int:
        """Number of classes, background included."""

    @property
    def channels(self) -> int:
        """Number of channels of a volume."""

    @property
    def stages(self) -> int:
        """Number of stages: 1, or 2 for a cascade."""

    def predict(self, image: NDArray[Any] | Tensor) -> Prediction:
        """Segment a raw volume ``(D1, D2, D3)``, or ``(C, D1, D2, D3)`` of C channels."""

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
        """Return a loss and its gradient with respect to the raw volume, per unit of the volume.

        Parameters
        ----------
        image : ndarray or Tensor, shape (D1, D2, D3), or (C, D1, D2, D3) for several channels
            Raw volume.
        label : ndarray or Tensor of int, shape (D1, D2, D3)
            Class of each voxel.
        loss : str or callable
            Name of a loss, or a function of logits ``(B, K, ...)`` and labels ``(B, ...)``.
        mode : str
            ``"window_mean"``: window gradients, averaged where windows overlap (the chapter's).
            ``"fused"``: exact gradient of the loss of the fused prediction.
        windows : str
            ``"all"``; ``"skip_background"``: only those whose label holds foreground (the chapter's);
            ``"influential"``, ``"decisive"``, ``"leading"``: the fewest that hold 98, 80 or 15 % of the slope of the
            objective, chosen anew in each call (``"fused"`` only; of a cascade attacked as a whole, ``"decisive"``
            takes the leading ones of the coarse stage); ``"tiling"``: non-overlapping ones in place of the grid's
            (how patch-wise attacks work; ``"window_mean"`` only).
        target : str
            Stage of a cascade: ``"coarse"``, ``"fine"`` (box from this volume) or ``"c2f"`` (sum of both losses).
            A single-stage pipeline has one loss, whatever the target.
        statistics : str
            ``"frozen"``: normalisation statistics of ``image`` are constants; ``"through"``: differentiated too.

        Returns
        -------
        (float, same type as ``image``)
            The loss and its gradient, same shape as ``image``; float32, or float64 for a float64 volume.
        """

    def frozen_at(self, image: NDArray[Any] | Tensor) -> Self:
        """Return this pipeline with the normalisation statistics of ``image`` held fixed."""

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready settings of everything but the weights."""

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights."""
