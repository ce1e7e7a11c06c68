# SPDX-License-Identifier: Apache-2.0
"""Memory of the whole-volume gradients against the number of windows, as ratios measured in one run."""

import sys

import pytest

from tests.speed.memory import extra_megabytes


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("mode", ["window_mean", "fused"])
def test_memory_does_not_grow_with_the_number_of_windows(mode) -> None:
    few, little = extra_megabytes(mode, 0.0)
    many, much = extra_megabytes(mode, 0.875)
    assert few == 8
    assert many == 405
    # Keeping a graph per window would multiply it by `many / few`, 50.
    assert much < 1.1 * little, f"{mode}: {little:.0f} MB at {few} windows, {much:.0f} MB at {many}"
