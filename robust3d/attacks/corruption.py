# SPDX-License-Identifier: Apache-2.0
"""Natural controls: what a scanner does to an image by itself, in five severities, with MONAI and TorchIO."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from robust3d.attacks.attack import Adversarial, Attack, Attempt
from robust3d.attacks.unbounded import keep_range
from robust3d.foundation.digest import mix_seed
from robust3d.foundation.errors import InputError
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.channels import as_image, by_channel
from robust3d.volume.volume import Triple, Volume

Kind = Literal["noise", "blur", "resolution", "contrast", "bias_field", "ghosting"]

SEVERITIES: dict[Kind, tuple[float, float, float, float, float]] = {
    # Standard deviation of white Gaussian noise, HU.
    "noise": (10.0, 20.0, 30.0, 45.0, 60.0),
    # Standard deviation of a Gaussian kernel (integrated over each voxel), mm.
    "blur": (1.0, 1.5, 2.0, 3.0, 4.0),
    # Voxels left along each axis, as a fraction; averaged, then interpolated back to the grid.
    "resolution": (0.75, 0.6, 0.5, 0.375, 0.25),
    # Exponent gamma of intensities scaled to 0 to 1: above 1 soft tissue darkens.
    "contrast": (1.15, 1.3, 1.5, 1.75, 2.0),
    # Largest coefficient c of the cubic Legendre polynomial whose exponential multiplies the image.
    "bias_field": (0.05, 0.1, 0.2, 0.3, 0.4),
    # Part that every fourth phase encoding line loses.
    "ghosting": (0.1, 0.2, 0.3, 0.45, 0.6),
}
"""What severities 1 to 5 mean."""

_GHOSTS = 4
_PHASE_AXIS = 1
_KERNEL_RADII = 4.0


@dataclass(frozen=True)
class _Setting:
    """What a corruption needs to know besides the image."""

    level: float
    spacing: Triple
    base: float
    seed: int


class Corruption(Attack):
    """Degrades a case as acquisition does, without any knowledge of the model.

    The whole volume is degraded, values beyond the valid range included, and clipped to that range after that; only
    the contrast changes the clipped volume, whose least and largest values stay. Equal seeds give equal noise and
    equal fields in all severities, so that these differ in size alone. Channels are degraded one by one, each with
    noise of its own, and the field of a coil that they share. The epsilon of the threat model is ignored
    (at epsilon 0 as well); its valid range and storage are kept, and the true distance is reported.

    Parameters
    ----------
    kind : str
        ``"noise"``, ``"blur"``, ``"resolution"``, ``"contrast"``, ``"bias_field"`` (of MR coils; multiplies what lies
        above the least valid value), or ``"ghosting"`` (of periodic motion in MR, four ghosts along the second axis).
        The last needs TorchIO, the others MONAI.
    severity : int
        From 1 to 5; :data:`SEVERITIES` says what it means.
    """

    algorithm: Literal["corruption"] = "corruption"
    kind: Kind
    severity: Annotated[int, Field(ge=1, le=5)] = 3

    @property
    def bounded(self) -> bool:
        """It has no epsilon."""
        return False

    def settings(self) -> dict[str, Any]:
        """Return JSON-ready hyperparameters, with what the severity means."""
        return super().settings() | {"level": SEVERITIES[self.kind][self.severity - 1]}

    def check(self, classes: int, threat: ThreatModel) -> None:
        """Refuse noise, which is given in HU, for volumes in another unit, and a library that is not installed."""
        super().check(classes, threat)
        if self.kind == "noise" and threat.volume_unit != "HU":
            raise InputError(
                f"attack {self.name} adds noise in HU and the threat model is in {threat.unit}; use another kind, "
                "such as 'bias_field'"
            )
        if self.kind == "ghosting":
            _torchio()
        else:
            _monai()

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Degrade one labelled case.

        Raises
        ------
        InputError
            If the library is not installed, the unit does not fit, or the case has no label.
        """
        self.check(pipeline.classes, threat)
        attempt = Attempt(pipeline, volume, threat, seed, bounded=False)
        image = attempt.clean.cpu()
        if self.kind == "contrast":
            image = threat.origin(image)
        random = mix_seed("corruption", int(seed), volume.sha256)
        channels = []
        for number, channel in enumerate(by_channel(image)):
            base = (
                (threat.valids or threat.spans * volume.channels)[number][0] if threat.spans else float(channel.min())
            )
            own = random + number if self.kind == "noise" else random
            setting = _Setting(SEVERITIES[self.kind][self.severity - 1], volume.spacing, base, own % 2**32)
            channels.append(_DEGRADE[self.kind](channel, setting))
        degraded = as_image(torch.stack(channels)).to(attempt.clean)
        return attempt.result(keep_range(threat, degraded, attempt.clean), bounded=False)


def _noise(image: Tensor, setting: _Setting) -> Tensor:
    transform = _monai().RandGaussianNoise(prob=1.0, mean=0.0, std=setting.level, sample_std=False)
    return _applied(transform.set_random_state(seed=setting.seed), image)


def _blur(image: Tensor, setting: _Setting) -> Tensor:
    sigmas = [setting.level / step for step in setting.spacing]
    # MONAI's filter takes 0 beyond the border; in HU that is water.
    radii = [math.ceil(_KERNEL_RADII * sigma) + 1 for sigma in sigmas]
    around = pad(image[None, None], [side for radius in reversed(radii) for side in (radius, radius)], mode="replicate")
    blurred = _applied(_monai().GaussianSmooth(sigma=sigmas, approx="erf"), around[0, 0])
    first, second, third = (slice(radius, -radius) for radius in radii)
    return blurred[first, second, third]


def _resolution(image: Tensor, setting: _Setting) -> Tensor:
    transform = _monai().RandSimulateLowResolution(
        prob=1.0, downsample_mode="area", upsample_mode="trilinear", zoom_range=(setting.level, setting.level)
    )
    return _applied(transform, image)


def _contrast(image: Tensor, setting: _Setting) -> Tensor:
    return _applied(_monai().AdjustContrast(gamma=setting.level), image)


def _bias_field(image: Tensor, setting: _Setting) -> Tensor:
    transform = _monai().RandBiasField(degree=3, coeff_range=(-setting.level, setting.level), prob=1.0)
    return _applied(transform.set_random_state(seed=setting.seed), image - setting.base) + setting.base


def _ghosting(image: Tensor, setting: _Setting) -> Tensor:
    transform = _torchio().Ghosting(num_ghosts=_GHOSTS, axis=_PHASE_AXIS, intensity=setting.level, restore=None)
    return _applied(transform, image)


_DEGRADE: dict[Kind, Callable[[Tensor, _Setting], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "resolution": _resolution,
    "contrast": _contrast,
    "bias_field": _bias_field,
    "ghosting": _ghosting,
}


def _applied(transform: Callable[[Tensor], Any], image: Tensor) -> Tensor:
    """Apply a transform of images with a channel axis; what comes back is a plain float32 tensor."""
    # TorchIO draws from torch's global generator even where nothing is random.
    with torch.random.fork_rng(devices=[]):
        degraded = transform(image[None])
    return torch.as_tensor(degraded, dtype=torch.float32).as_subclass(Tensor)[0]


def _monai() -> Any:
    return _library("monai.transforms", "monai")


def _torchio() -> Any:
    return _library("torchio", "torchio")


def _library(module: str, package: str) -> Any:
    # Seconds to import, so only when a corruption is wanted.
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"this corruption needs {package}, which cannot be imported ({error}); "
            "run: pip install 'robust3d[corruptions]'"
        ) from error
