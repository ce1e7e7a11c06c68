# SPDX-License-Identifier: Apache-2.0
"""Memory of the whole-volume gradients against the number of windows, as ratios measured in one run."""

import json
import subprocess
import sys

import pytest

# Peak resident memory of a fresh process per point; the volume stays the same, so only the windows grow.
SCRIPT = """
import json, sys
import torch
from robust3d.networks.resdsn import ResDSN
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import hu_window
from robust3d.segment.segmenter import Segmenter

def peak():
    # Not ru_maxrss, which starts from the size of the process that forked this one.
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

mode, fraction = sys.argv[1], float(sys.argv[2])
torch.set_num_threads(1)
torch.manual_seed(0)
net = ResDSN(width=4, deep_supervision=False)
segmenter = Segmenter.from_network(
    net, window=32, grid=overlap(fraction), intensity=hu_window(-100, 240), window_batch=4, checks=False
)
image = torch.randn(64, 64, 64) * 100
label = (image > 100).long()
base = peak()
segmenter.loss_gradient(image, label, "ce", mode)
after = peak()
windows = len(overlap(fraction).corners((64, 64, 64), (32, 32, 32)))
print(json.dumps({"windows": windows, "extra": (after - base) / 1024}))
"""


def extra_megabytes(mode: str, fraction: float) -> tuple[int, float]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode, str(fraction)], check=True, capture_output=True, text=True
    )
    result = json.loads(done.stdout)
    return result["windows"], result["extra"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("mode", ["window_mean", "fused"])
def test_memory_does_not_grow_with_the_number_of_windows(mode) -> None:
    few, little = extra_megabytes(mode, 0.0)
    many, much = extra_megabytes(mode, 0.82)
    assert few == 8
    assert many >= 200
    # Keeping a graph per window would multiply it by `many / few`, more than 25.
    assert much < 1.25 * little, f"{mode}: {little:.0f} MB at {few} windows, {much:.0f} MB at {many}"
