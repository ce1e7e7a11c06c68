# SPDX-License-Identifier: Apache-2.0
"""ThreatModel: norm, epsilon with its unit, valid range and storage of the perturbed volume."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from robust3d.foundation.errors import InputError, nearest
from robust3d.volume.quantise import round_toward
from robust3d.volume.slabs import slabs

UNITS = {
    "linf": ("HU", "intensity", "% of range"),
    "l2": ("RMS HU", "RMS intensity", "RMS % of range"),
}
"""Units of epsilon by norm: ``HU`` for CT; ``intensity`` for volumes without a physical unit, in the values stored
in the file; ``% of range`` for those rescaled by the percentiles of each case (:mod:`robust3d.data.rescale`); with
``RMS``, the root of the mean square change of a voxel."""

STORAGES = ("float32", "int16")

_TINY = 1e-30


@dataclass(frozen=True, kw_only=True)
class ThreatModel:
    """The set of perturbed volumes that an attacker may submit.

    The perturbation is measured from the clean volume clipped to ``valid``: a network that truncates its
    input sees nothing beyond that range (design: "perturb the truncated volume").

    Parameters
    ----------
    norm : str
        ``"linf"``: largest absolute change of a voxel. ``"l2"``: root of the mean square change of a voxel, so that
        a bound means the same for volumes of any size.
    epsilon : float
        Bound of the norm, in ``unit``.
    unit : str
        Unit of ``epsilon``, one of :data:`UNITS`; without ``RMS`` also that of ``valid`` and of the volume.
    valid : (float, float) or None
        Range of values that a perturbed volume may hold.
    storage : str
        ``"float32"``, or ``"int16"`` for whole numbers only, as a DICOM or NIfTI file holds them.
    """

    norm: str = "linf"
    epsilon: float
    unit: str
    valid: tuple[float, float] | None = None
    storage: Literal["float32", "int16"] = "float32"

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
        if self.valid is not None and not self.valid[0] < self.valid[1]:
            raise InputError(
                f"valid range [{self.valid[0]}, {self.valid[1]}] {self.unit} is empty; give low below high"
            )
        if self.valid is not None and not all(map(math.isfinite, self.valid)):
            raise InputError(f"valid range {self.valid} is not finite; leave it out for volumes without a range")
        if self.storage not in STORAGES:
            raise InputError(f"unknown storage {self.storage!r}; {nearest(self.storage, STORAGES)}")
        if self.storage == "int16" and self.valid is not None and any(bound % 1 for bound in self.valid):
            raise InputError(f"int16 storage holds whole numbers only, and so must the valid range {self.valid}")

    @property
    def volume_unit(self) -> str:
        """Unit of a voxel's value."""
        return self.unit.removeprefix("RMS ")

    def origin(self, clean: Tensor) -> Tensor:
        """Return the centre of the ball: the clean volume clipped to the valid range."""
        return clean if self.valid is None else clean.clamp(*self.valid)

    def check_clean(self, clean: Tensor) -> None:
        """Refuse a clean volume around which the storage may hold no allowed volume at all.

        Raises
        ------
        InputError
            If it holds fractions, storage whole numbers, and epsilon is below one half.
        """
        if self.storage == "int16" and self.epsilon < 0.5 and not _whole(clean):
            raise InputError(
                f"the clean volume holds fractions, int16 storage whole numbers, and epsilon {self.epsilon:g} "
                f"{self.unit} may reach none; use an epsilon of 0.5 or more, or storage float32"
            )

    def project(self, candidate: Tensor, clean: Tensor) -> Tensor:
        """Return an allowed volume: into the epsilon-ball around :meth:`origin`, then valid range, then storage.

        For ``linf`` it is the nearest one.

        Parameters
        ----------
        candidate, clean : Tensor
            Same shape, in the volume's unit.
        """
        if self.norm == "linf":
            # Voxel by voxel, and so slab by slab: none of the intermediate results takes a volume.
            projected = torch.empty_like(candidate)
            for rows in slabs(len(candidate)):
                projected[rows] = self._project(candidate[rows], clean[rows])
            return projected
        return self._project(candidate, clean)

    def _project(self, candidate: Tensor, clean: Tensor) -> Tensor:
        origin = self.origin(clean)
        if self.norm == "linf":
            projected = torch.minimum(torch.maximum(candidate, origin - self.epsilon), origin + self.epsilon)
        else:
            # Range and rounding toward the origin only shorten the change after this.
            change = candidate - origin
            projected = origin + change * (self.epsilon / max(self.epsilon, root_mean_square(change), _TINY))
        if self.valid is not None:
            projected = projected.clamp(*self.valid)
        if self.storage == "int16":
            projected = round_toward(projected, origin).to(projected.dtype)
        return projected

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the direction of steepest ascent, of norm 1: sign of the gradient, or gradient over its RMS.

        sign(0) = 0, and a gradient of 0 everywhere has no direction.
        """
        return gradient.sign() if self.norm == "linf" else gradient / max(root_mean_square(gradient), _TINY)

    def noise(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return a uniform draw from the ball around zero, in the volume's unit, alike on every device.

        In many dimensions nearly all of an ``l2`` ball lies at its surface: the draw has norm epsilon.
        """
        if self.norm == "linf":
            return self.epsilon * (torch.rand(clean.shape, generator=generator) * 2 - 1).to(clean)
        normal = torch.randn(clean.shape, generator=generator)
        return (self.epsilon * self.steepest(normal)).to(clean)

    def distance(self, candidate: Tensor, clean: Tensor) -> float:
        """Return the norm of the perturbation, in ``unit``."""
        if self.norm == "linf":
            return self.largest_change(candidate, clean)
        return root_mean_square(candidate.double() - self.origin(clean).double())

    def largest_change(self, candidate: Tensor, clean: Tensor) -> float:
        """Return the largest change of a voxel, in the volume's unit, whatever the norm."""
        changes = (
            (candidate[rows].double() - self.origin(clean[rows]).double()).abs().max() for rows in slabs(len(clean))
        )
        return max(map(float, changes))

    def tolerance(self, largest: float | None = None) -> float:
        """Return by how much a measured distance may exceed epsilon, in the volume's unit.

        Parameters
        ----------
        largest : float, optional
            Largest absolute value of the clean volume; that of the valid range by default.
        """
        if largest is None:
            largest = max(map(abs, self.valid or (0.0, 0.0)))
        # float32 holds 240 HU to 1.5e-5 and 4000 to 2.4e-4, so an exact bound cannot be asked of a stored sum.
        return 1e-4 * max(1.0, self.epsilon) + 1.2e-7 * largest

    def verify(self, candidate: Tensor, clean: Tensor, *, bounded: bool = True) -> float:
        """Check that a volume is allowed and return its distance in ``unit``.

        Parameters
        ----------
        candidate, clean : Tensor
            Same shape, in the volume's unit.
        bounded : bool
            Whether epsilon is checked; without, only what any volume has to keep to.

        Raises
        ------
        InputError
            If it is not finite, too far, out of range or off the storage grid; says by how much.
        """
        if candidate.shape != clean.shape:
            raise InputError(f"adversarial volume has shape {tuple(candidate.shape)}, clean {tuple(clean.shape)}")
        if not all(bool(torch.isfinite(candidate[rows]).all()) for rows in slabs(len(candidate))):
            raise InputError("adversarial volume holds NaN or infinite voxels")
        if self.storage == "int16" and any(not _whole(candidate[rows]) for rows in slabs(len(candidate))):
            raise InputError("adversarial volume holds fractions; int16 storage holds whole numbers only")
        distance = self.distance(candidate, clean)
        tolerance = self.tolerance(self._largest_value(clean))
        if bounded and distance > self.epsilon + tolerance:
            raise InputError(f"perturbation of {distance:g} {self.unit} exceeds epsilon {self.epsilon:g} {self.unit}")
        if self.valid is not None:
            low, high = float(candidate.min()), float(candidate.max())
            if low < self.valid[0] - tolerance or high > self.valid[1] + tolerance:
                raise InputError(
                    f"adversarial values [{low:g}, {high:g}] leave the valid range "
                    f"[{self.valid[0]:g}, {self.valid[1]:g}] {self.volume_unit}"
                )
        return distance

    def _largest_value(self, clean: Tensor) -> float:
        return max(float(self.origin(clean[rows]).abs().max()) for rows in slabs(len(clean)))

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready settings for hashes and result rows."""
        return {
            "norm": self.norm,
            "epsilon": float(self.epsilon),
            "unit": self.unit,
            "valid": None if self.valid is None else [float(bound) for bound in self.valid],
            "storage": self.storage,
        }

    def __str__(self) -> str:
        span = "" if self.valid is None else f", valid [{self.valid[0]:g}, {self.valid[1]:g}] {self.volume_unit}"
        return f"{self.norm} epsilon {self.epsilon:g} {self.unit} a voxel{span}, {self.storage}"


def _whole(volume: Tensor) -> bool:
    return bool((volume == volume.round()).all())


def root_mean_square(change: Tensor) -> float:
    """Return the root of the mean square over voxels."""
    return float(change.double().square().mean().sqrt())
