# SPDX-License-Identifier: Apache-2.0
"""Intensity preprocessing of several channels: each by its own scheme and its own statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robust3d.foundation.errors import InputError
from robust3d.segment.intensity import Intensity


@dataclass(frozen=True)
class ChannelIntensity:
    """N_c(x_c) for every channel c; see :class:`Intensity`, whose methods it has.

    Parameters
    ----------
    channels : tuple of Intensity
        One a channel.
    """

    channels: tuple[Intensity, ...]

    @property
    def per_case(self) -> bool:
        """Whether the statistics of any channel are those of each volume."""
        return any(one.per_case for one in self.channels)

    @property
    def limits(self) -> tuple[tuple[float, float], ...]:
        """Truncation window of every channel."""
        return tuple(pair for one in self.channels for pair in one.limits)

    def filled(self, value: float | None) -> ChannelIntensity:
        """Return this scheme with another value of padding."""
        return ChannelIntensity(tuple(one.filled(value) for one in self.channels))

    def truncate(self, image: Tensor) -> Tensor:
        """Return T(x) of a volume ``(C, ...)``."""
        return torch.stack([one.truncate(part) for one, part in self._pairs(image)])

    def frozen_at(self, image: Tensor) -> ChannelIntensity:
        """Return this scheme with the statistics of each channel of ``image`` as fixed offset and scale.

        Raises
        ------
        InputError
            If a truncated channel is constant.
        """
        found = []
        for number, (one, part) in enumerate(self._pairs(image)):
            try:
                found.append(one.frozen_at(part))
            except InputError as error:
                raise InputError(f"channel {number}: {error}") from error
        return ChannelIntensity(tuple(found))

    def normalise(self, image: Tensor) -> Tensor:
        """Return N(T(x)), with the statistics of ``image`` as constants where they are not fixed."""
        return torch.stack([one.normalise(part) for one, part in self._pairs(image)])

    def normalised_padding(self, image: Tensor) -> tuple[float, ...]:
        """Return what each normalised channel smaller than the window is padded with."""
        return tuple(one.normalised_padding(part) for one, part in self._pairs(image))

    def backward(
        self, image: Tensor, gradient: Tensor, *, through: bool = False, padding: Sequence[float] = ()
    ) -> Tensor:
        """Turn a gradient with respect to the normalised volume into one per unit of the raw one, by channel."""
        sums = padding or [0.0] * len(self.channels)
        return torch.stack(
            [
                one.backward(part, inner, through=through, padding=(total,))
                for (one, part), inner, total in zip(self._pairs(image), gradient, sums, strict=True)
            ]
        )

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready settings for hashes and result rows."""
        return {"channels": [one.settings() for one in self.channels]}

    def _pairs(self, image: Tensor) -> list[tuple[Intensity, Tensor]]:
        if len(image) != len(self.channels):
            raise InputError(
                f"the intensity scheme has {len(self.channels)} channels and the volume has {len(image)}; "
                "give one scheme a channel"
            )
        return list(zip(self.channels, image, strict=True))


Scheme = Intensity | ChannelIntensity
"""Of one channel, or of several."""


def scheme_of(schemes: Sequence[Intensity]) -> Scheme:
    """Return the scheme of one channel as it is, and of several together."""
    return schemes[0] if len(schemes) == 1 else ChannelIntensity(tuple(schemes))


def for_channels(scheme: Scheme, channels: int) -> Scheme:
    """Return a scheme for so many channels; that of one serves each, with statistics of its own.

    Raises
    ------
    InputError
        If it is for another number of several.
    """
    if isinstance(scheme, Intensity):
        return scheme_of([scheme] * channels)
    if len(scheme.channels) != channels:
        raise InputError(
            f"the intensity scheme has {len(scheme.channels)} channels and the model takes {channels}; "
            "give one scheme for all, or one a channel"
        )
    return scheme
