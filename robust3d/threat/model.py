# SPDX-License-Identifier: Apache-2.0
"""ThreatModel: which perturbed volumes are allowed, and how far one is from the clean volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robust3d.foundation.errors import InputError
from robust3d.threat.measure import largest, root_mean_square, weighed, whole
from robust3d.threat.settings import ThreatSettings
from robust3d.volume.channels import by_channel, spread
from robust3d.volume.quantise import round_toward
from robust3d.volume.slabs import parts

_TINY = 1e-30


@dataclass(frozen=True, kw_only=True)
class ThreatModel(ThreatSettings):
    """The set of perturbed volumes that an attacker may submit; :class:`ThreatSettings` explains the parameters.

    The perturbation is measured from the clean volume clipped to ``valid``: a network that truncates its
    input sees nothing beyond that range (design: "perturb the truncated volume").
    """

    def origin(self, clean: Tensor) -> Tensor:
        """Return the centre of the ball: the clean volume clipped to the valid range."""
        return self.clip(clean)

    def clip(self, image: Tensor) -> Tensor:
        """Return a volume within the valid range."""
        bounds = self.bounds(image)
        return image if bounds is None else image.clamp(*bounds)

    def bounds(self, image: Tensor) -> tuple[Any, Any] | None:
        """Return the valid range: two numbers, two tensors ``(C, 1, 1, 1)`` if channels differ, or ``None``."""
        if self.valids:
            lows, highs = zip(*self.valids, strict=True)
            return spread(lows, image), spread(highs, image)
        return self.valid

    def weigh(self, change: Tensor) -> Tensor:
        """Return a change with each channel scaled by its bound over epsilon; as it is where they are equal."""
        return change * spread(self.shares, change) if self.epsilons else change

    def leave_untouched(self, candidate: Tensor, clean: Tensor) -> Tensor:
        """Return ``candidate`` with the clean values in channels whose bound is 0."""
        if 0 not in self.shares:
            return candidate
        return torch.where(spread(self.shares, clean) > 0, candidate, self.origin(clean))

    def check_clean(self, clean: Tensor) -> None:
        """Refuse a clean volume around which the storage may hold no allowed volume at all.

        Raises
        ------
        InputError
            If it holds fractions, storage whole numbers, and epsilon is below one half.
        """
        least = min(self.epsilons, default=self.epsilon)
        if self.storage == "int16" and least < 0.5 and not whole(clean):
            raise InputError(
                f"the clean volume holds fractions, int16 storage whole numbers, and epsilon {least:g} "
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
            for part in parts(candidate):
                projected[part] = self._project(candidate[part], clean[part])
            return projected
        return self._project(candidate, clean)

    def _project(self, candidate: Tensor, clean: Tensor) -> Tensor:
        origin = self.origin(clean)
        if self.norm == "linf":
            reach: Any = spread(self.epsilons, origin) if self.epsilons else self.epsilon
            projected = torch.minimum(torch.maximum(candidate, origin - reach), origin + reach)
        else:
            # Range and rounding toward the origin only shorten the change after this.
            change = self.leave_untouched(candidate, clean) - origin
            projected = origin + change * (self.epsilon / max(self.epsilon, self._measure(change), _TINY))
        projected = self.clip(projected)
        if self.storage == "int16":
            projected = round_toward(projected, origin).to(projected.dtype)
        return projected

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the direction of steepest ascent, of norm 1: sign of the gradient, or gradient over its RMS.

        sign(0) = 0, and a gradient of 0 everywhere has no direction.
        """
        if self.norm == "linf":
            return self.weigh(gradient.sign())
        steep = self.weigh(self.weigh(gradient))
        return steep / max(self._measure(steep), _TINY)

    def noise(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return a uniform draw from the ball around zero, in the volume's unit, alike on every device.

        In many dimensions nearly all of an ``l2`` ball lies at its surface: the draw has norm epsilon.
        """
        if self.norm == "linf":
            return self.weigh(self.epsilon * (torch.rand(clean.shape, generator=generator) * 2 - 1).to(clean))
        normal = self.weigh(torch.randn(clean.shape, generator=generator))
        return (self.epsilon * (normal / max(self._measure(normal), _TINY))).to(clean)

    def distance(self, candidate: Tensor, clean: Tensor) -> float:
        """Return the norm of the perturbation, in ``unit``; see ``epsilons`` for channels with bounds of their own."""
        if self.norm == "l2":
            return self._measure(candidate.double() - self.origin(clean).double())
        if not self.epsilons:
            return self.largest_change(candidate, clean)
        changes = zip(self.changes_by_channel(candidate, clean), self.shares, strict=True)
        return max(change / share for change, share in changes if share > 0)

    def largest_change(self, candidate: Tensor, clean: Tensor) -> float:
        """Return the largest change of a voxel, in the volume's unit, whatever the norm."""
        return max(largest(candidate[part].double() - self.origin(clean[part]).double()) for part in parts(clean))

    def changes_by_channel(self, candidate: Tensor, clean: Tensor) -> list[float]:
        """Return the largest change of a voxel of each channel, in the volume's unit."""
        origin = self.origin(clean)
        pairs = zip(by_channel(candidate), by_channel(origin), strict=True)
        return [max(largest(one[part].double() - other[part].double()) for part in parts(one)) for one, other in pairs]

    def _measure(self, change: Tensor) -> float:
        return root_mean_square(weighed(change, self.shares) if self.epsilons else change)

    def tolerance(self, largest: float | None = None) -> float:
        """Return by how much a measured distance may exceed epsilon, in the volume's unit.

        Parameters
        ----------
        largest : float, optional
            Largest absolute value of the clean volume; that of the valid range by default.
        """
        if largest is None:
            largest = max((abs(bound) for span in self.spans for bound in span), default=0.0)
        # float32 holds 240 HU to 1.5e-5 and 4000 to 2.4e-4, so an exact bound cannot be asked of a stored sum.
        return 1e-4 * max(1.0, self.epsilon) + 1.2e-7 * largest

    def distance_tolerance(self, largest: float | None = None) -> float:
        """Return the same for the distance, which counts a change in proportion to the bound of its channel."""
        return self.tolerance(largest) / min((one for one in self.shares if one > 0), default=1.0)

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
        if not all(bool(torch.isfinite(candidate[part]).all()) for part in parts(candidate)):
            raise InputError("adversarial volume holds NaN or infinite voxels")
        if self.storage == "int16" and any(not whole(candidate[part]) for part in parts(candidate)):
            raise InputError("adversarial volume holds fractions; int16 storage holds whole numbers only")
        distance = self.distance(candidate, clean)
        largest = self._largest_value(clean)
        tolerance = self.tolerance(largest)
        if bounded and distance > self.epsilon + self.distance_tolerance(largest):
            raise InputError(f"perturbation of {distance:g} {self.unit} exceeds epsilon {self.epsilon:g} {self.unit}")
        if self.epsilons:
            self._check_channels(candidate, clean, tolerance, bounded=bounded)
        volumes = by_channel(candidate) if self.valids else [candidate]
        for volume, span in zip(volumes, self.spans, strict=bool(self.valids)):
            low, high = float(volume.min()), float(volume.max())
            if low < span[0] - tolerance or high > span[1] + tolerance:
                raise InputError(
                    f"adversarial values [{low:g}, {high:g}] leave the valid range "
                    f"[{span[0]:g}, {span[1]:g}] {self.volume_unit}"
                )
        return distance

    def _check_channels(self, candidate: Tensor, clean: Tensor, tolerance: float, *, bounded: bool) -> None:
        """Refuse a change of a channel beyond its own bound; one of bound 0 is never touched."""
        for number, change in enumerate(self.changes_by_channel(candidate, clean)):
            bound = self.epsilons[number]
            counts = bound == 0 < self.epsilon or (bounded and self.norm == "linf")
            if counts and change > bound + tolerance:
                raise InputError(
                    f"channel {number} is changed by up to {change:g} {self.volume_unit} and its epsilon is {bound:g}"
                )

    def _largest_value(self, clean: Tensor) -> float:
        return max(largest(self.origin(clean[part])) for part in parts(clean))
