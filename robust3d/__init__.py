# SPDX-License-Identifier: Apache-2.0
"""robust3d: adversarial robustness of volumetric medical image segmentation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robust3d.attacks.cards import load_attack as load_attack
    from robust3d.foundation.errors import InputError as InputError
    from robust3d.metrics.counts import dsc as dsc
    from robust3d.metrics.counts import foreground_dsc as foreground_dsc
    from robust3d.segment.cascade import CoarseToFine as CoarseToFine
    from robust3d.segment.channel_intensity import ChannelIntensity as ChannelIntensity
    from robust3d.segment.grid import overlap as overlap
    from robust3d.segment.grid import seed as seed
    from robust3d.segment.grid import step as step
    from robust3d.segment.intensity import dataset_zscore as dataset_zscore
    from robust3d.segment.intensity import hu_window as hu_window
    from robust3d.segment.intensity import unit_window as unit_window
    from robust3d.segment.intensity import zscore as zscore
    from robust3d.segment.segmenter import Segmenter as Segmenter
    from robust3d.threat.model import ThreatModel as ThreatModel
    from robust3d.volume.nifti import read_volume as read_volume
    from robust3d.volume.volume import Volume as Volume
    from robust3d.zoo.formats.inferer import from_monai as from_monai
    from robust3d.zoo.load import load_model as load_model

# Names are imported when first used: torch takes seconds, and `robust3d --help` must not wait for it.
_HOMES = {
    "ChannelIntensity": "segment.channel_intensity",
    "CoarseToFine": "segment.cascade",
    "InputError": "foundation.errors",
    "Segmenter": "segment.segmenter",
    "ThreatModel": "threat.model",
    "Volume": "volume.volume",
    "dataset_zscore": "segment.intensity",
    "dsc": "metrics.counts",
    "foreground_dsc": "metrics.counts",
    "from_monai": "zoo.formats.inferer",
    "hu_window": "segment.intensity",
    "load_attack": "attacks.cards",
    "load_model": "zoo.load",
    "overlap": "segment.grid",
    "read_volume": "volume.nifti",
    "seed": "segment.grid",
    "step": "segment.grid",
    "unit_window": "segment.intensity",
    "zscore": "segment.intensity",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'robust3d' has no attribute {name!r}")
    return getattr(import_module(f"robust3d.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
