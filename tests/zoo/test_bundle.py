# SPDX-License-Identifier: Apache-2.0
"""What everyone downloads with the project: its bundled weights."""

from pathlib import Path

ZOO = Path(__file__).parents[2] / "zoo"


def test_all_weights_together_stay_small() -> None:
    sizes = [path.stat().st_size for path in ZOO.glob("*/*.safetensors")]
    assert len(sizes) > 20
    assert sum(sizes) < 80e6
