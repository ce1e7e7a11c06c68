# SPDX-License-Identifier: Apache-2.0
"""What a threat model says: norm, epsilon with its unit, valid range and storage, of all channels or of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from robust3d.foundation.errors import InputError, nearest
from robust3d.threat.measure import scaled_epsilons

UNITS = {
    "linf": ("HU", "intensity", "% of range"),
    "l2": ("RMS HU", "RMS intensity", "RMS % of range"),
}
"""Units of epsilon by norm: ``HU`` for CT; ``intensity`` for volumes without a physical unit, in the values stored
in the file; ``% of range`` for those rescaled by the percentiles of each case (:mod:`robust3d.data.rescale`); with
``RMS``, the root of the mean square change of a voxel."""

STORAGES = ("float32", "int16")

Span = tuple[float, float]
"""Lowest and highest value."""


@dataclass(frozen=True, kw_only=True)
class ThreatSettings:
    """Settings of a threat model, checked.

    Parameters
    ----------
    norm : str
        ``"linf"``: largest absolute change of a voxel. ``"l2"``: root of the mean square change of a voxel, so that
        a bound means the same for volumes of any size.
    epsilon : float
        Bound of the norm, in ``unit``. Of several channels, the same for each; ``l2`` is over the voxels of all.
    unit : str
        Unit of ``epsilon``, one of :data:`UNITS`; without ``RMS`` also that of ``valid`` and of the volume.
    valid : (float, float) or None
        Range of values that a perturbed volume may hold, every channel of it.
    storage : str
        ``"float32"``, or ``"int16"`` for whole numbers only, as a DICOM or NIfTI file holds them.
    epsilons : tuple of float
        Bound of each channel, if they differ; 0 leaves a channel untouched, and ``epsilon`` is the largest of them.
        The norm of a perturbation is then that of the changes divided by epsilons[c] / epsilon, over the channels that
        may change: at most epsilon where each channel keeps to its own bound. A model with another ``epsilon`` has
        these in proportion.
    valids : tuple of (float, float)
        Range of each channel, if they differ, in place of ``valid``.
    """

    norm: str = "linf"
    epsilon: float
    unit: str
    valid: Span | None = None
    storage: Literal["float32", "int16"] = "float32"
    epsilons: tuple[float, ...] = ()
    valids: tuple[Span, ...] = ()

    @classmethod
    def build(
        cls, *, epsilon: float | Sequence[float], valid: Span | Sequence[Span] | None = None, **others: Any
    ) -> Self:
        """Return the threat model of one epsilon and range for all channels, or of one a channel."""
        bounds = [epsilon] if isinstance(epsilon, int | float) else list(epsilon)
        if not bounds:
            raise InputError("epsilon is an empty list; give one number for all channels, or one a channel")
        spans = _spans(valid)
        return cls(
            epsilon=float(max(bounds)),
            epsilons=tuple(map(float, bounds)) if len(bounds) > 1 else (),
            valid=spans[0] if len(spans) == 1 else None,
            valids=spans if len(spans) > 1 else (),
            **others,
        )

    def __post_init__(self) -> None:
        if self.norm not in UNITS:
            raise InputError(f"unknown norm {self.norm!r}; {nearest(self.norm, UNITS)}")
        if self.unit not in UNITS[self.norm]:
            known = UNITS[self.norm]
            raise InputError(
                f"an epsilon of norm {self.norm} needs a unit and {self.unit!r} is none; "
                f"{nearest(str(self.unit), known)}"
            )
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise InputError(f"epsilon must be zero or a positive number of {self.unit}, not {self.epsilon}")
        if self.storage not in STORAGES:
            raise InputError(f"unknown storage {self.storage!r}; {nearest(self.storage, STORAGES)}")
        for span in self.spans:
            self._check_span(span)
        if self.epsilons:
            object.__setattr__(self, "epsilons", scaled_epsilons(self.epsilons, self.epsilon, self.unit))
        counts = {len(one) for one in (self.epsilons, self.valids) if one}
        if len(counts) > 1:
            raise InputError(
                f"{len(self.epsilons)} epsilons and {len(self.valids)} valid ranges are given; give one a channel of "
                "both, or one for all"
            )

    def _check_span(self, span: Span) -> None:
        if not span[0] < span[1]:
            raise InputError(f"valid range [{span[0]}, {span[1]}] {self.unit} is empty; give low below high")
        if not all(map(math.isfinite, span)):
            raise InputError(f"valid range {span} is not finite; leave it out for volumes without a range")
        if self.storage == "int16" and any(bound % 1 for bound in span):
            raise InputError(f"int16 storage holds whole numbers only, and so must the valid range {span}")

    def check_channels(self, channels: int) -> None:
        """Refuse bounds or ranges for another number of channels.

        Raises
        ------
        InputError
            Names both.
        """
        for what, given in (("epsilons", self.epsilons), ("valid ranges", self.valids)):
            if given and len(given) != channels:
                raise InputError(
                    f"the threat model has {len(given)} {what} and a volume {channels} "
                    f"channel{'s' if channels > 1 else ''}; give one for all, or one a channel"
                )

    @property
    def spans(self) -> tuple[Span, ...]:
        """The valid ranges: none, one for all channels, or one a channel."""
        return self.valids or (() if self.valid is None else (self.valid,))

    @property
    def shares(self) -> tuple[float, ...]:
        """Bound of each channel as a fraction of epsilon; none where they are equal."""
        return tuple(one / self.epsilon if self.epsilon else 1.0 for one in self.epsilons)

    @property
    def volume_unit(self) -> str:
        """Unit of a voxel's value."""
        return self.unit.removeprefix("RMS ")

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready settings for hashes and result rows."""
        spans = [[float(bound) for bound in span] for span in self.spans]
        return {
            "norm": self.norm,
            "epsilon": [float(one) for one in self.epsilons] if self.epsilons else float(self.epsilon),
            "unit": self.unit,
            "valid": spans if self.valids else next(iter(spans), None),
            "storage": self.storage,
        }

    def __str__(self) -> str:
        ranges = ", ".join(f"[{low:g}, {high:g}]" for low, high in self.spans)
        span = f", valid {ranges} {self.volume_unit}" if ranges else ""
        return f"{self.norm} epsilon {self.bound} {self.unit} a voxel{span}, {self.storage}"

    @property
    def bound(self) -> str:
        """Epsilon in words, one number a channel where they differ."""
        return ", ".join(f"{one:g}" for one in self.epsilons or (self.epsilon,))


def _spans(valid: Span | Sequence[Span] | None) -> tuple[Span, ...]:
    """Return ranges given as none, one or one a channel."""
    if valid is None:
        return ()
    first, *_ = valid
    pairs: Any = [valid] if isinstance(first, int | float) else valid
    return tuple((low, high) for low, high in pairs)
