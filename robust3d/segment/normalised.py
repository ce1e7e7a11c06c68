# SPDX-License-Identifier: Apache-2.0
"""From a raw volume to the normalised and padded one that windows are cut out of, and gradients back."""

from __future__ import annotations

from torch import Tensor

from robust3d.segment.channel_intensity import Scheme
from robust3d.segment.windows import WindowPlan
from robust3d.volume.channels import by_channel, crop


def normalised_volume(scheme: Scheme, plan: WindowPlan, raw: Tensor) -> Tensor:
    """Return a volume normalised, and padded where it is smaller than a window."""
    fixed = scheme.frozen_at(raw)
    normalised = fixed.normalise(raw)
    return plan.padded(normalised, fixed.normalised_padding(raw)) if plan.is_padded else normalised


def raw_gradient(scheme: Scheme, plan: WindowPlan, raw: Tensor, gradient: Tensor, *, through: bool = False) -> Tensor:
    """Turn a gradient of the normalised and padded volume, which is used up, into one per unit of the raw volume.

    Parameters
    ----------
    scheme : Intensity or ChannelIntensity
        Of the volume.
    plan : WindowPlan
        Padding.
    raw : Tensor
        Where the gradient was taken.
    gradient : Tensor, padded shape
        With respect to :func:`normalised_volume`.
    through : bool
        Differentiate per-case statistics too.
    """
    inner = crop(gradient, plan.inner)
    padding = [0.0] * len(by_channel(raw))
    if through and plan.is_padded:
        parts = zip(by_channel(gradient), by_channel(inner), strict=True)
        padding = [float(whole.double().sum() - part.double().sum()) for whole, part in parts]
    return scheme.backward(raw, inner, through=through, padding=padding)
