# SPDX-License-Identifier: Apache-2.0
"""What attacks without an epsilon still keep to: the valid range and the storage of the threat model."""

from __future__ import annotations

from torch import Tensor

from robust3d.threat.model import ThreatModel
from robust3d.volume.quantise import round_toward


def keep_range(threat: ThreatModel, candidate: Tensor, clean: Tensor) -> Tensor:
    """Return ``candidate`` within the valid range and on the storage grid, however far from ``clean``.

    Parameters
    ----------
    threat : ThreatModel
        Gives range and storage; its epsilon is not used, but for channels in which it is 0: these stay clean.
    candidate, clean : Tensor
        Same shape, in the volume's unit.
    """
    kept = threat.origin(candidate)
    if threat.storage == "int16":
        kept = round_toward(kept, threat.origin(clean)).to(kept.dtype)
    return threat.leave_untouched(kept, clean)
