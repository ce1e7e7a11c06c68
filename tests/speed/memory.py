# SPDX-License-Identifier: Apache-2.0
"""Peak memory of one whole-volume gradient against the number of windows, a fresh process a point."""

from __future__ import annotations

import json
import os
import subprocess
import sys

# The volume stays the same, so only the windows grow. One a pass: a last batch of fewer windows than the others has
# oneDNN compile for its size as well, 12 MB that have nothing to do with the number of windows.
SCRIPT = """
import json, sys
import torch
from robust3d.networks.folding import channels_last, inference_copy
from robust3d.networks.resdsn import ResDSN
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import unit_window
from robust3d.segment.segmenter import Segmenter

def peak():
    # Not ru_maxrss, which starts from the size of the process that forked this one.
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

way, fraction = sys.argv[1], float(sys.argv[2])
torch.set_num_threads(1)
torch.manual_seed(0)
net = ResDSN(width=8, deep_supervision=False).eval()
image = 0.1 + 0.8 * torch.rand(64, 64, 48)
label = (image > 0.6).long()
windows = len(overlap(fraction).corners(tuple(image.shape), (32, 32, 32)))
if way == "monai":
    from monai.inferers import sliding_window_inference
    # The code that both runs load is not what grows.
    with torch.no_grad():
        net(torch.zeros(1, 1, 32, 32, 32))
    base = peak()
    volume = image[None, None].requires_grad_(True)
    logits = sliding_window_inference(volume, (32, 32, 32), 1, net, overlap=fraction)
    torch.nn.functional.cross_entropy(logits, label[None]).backward()
else:
    segmenter = Segmenter.from_network(
        channels_last(inference_copy(net)),
        window=32,
        grid=overlap(fraction),
        intensity=unit_window(0.0, 1.0),
        fusion="logits",
        window_batch=1,
        checks=False,
    )
    base = peak()
    segmenter.loss_gradient(image, label, "ce", way)
print(json.dumps({"windows": windows, "megabytes": (peak() - base) / 1024}))
"""

# A fixed threshold: glibc's own rises with the blocks that are freed, to 32 MB, so that they come from a heap whose
# holes count as memory in use, for the first batches more and more. What is measured is what the gradient holds.
MMAP_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536"}

OVERLAPS = (0.0, 0.5, 0.75, 0.875)
"""8, 18, 75 and 405 windows of 32^3 over 64 x 64 x 48 voxels."""


def extra_megabytes(way: str, overlap: float) -> tuple[int, float]:
    """Return the number of windows, and what the gradient adds to the peak resident memory, MB.

    Parameters
    ----------
    way : str
        ``"window_mean"``, ``"fused"``, or ``"monai"``: autograd through MONAI's sliding window.
    overlap : float
        Of neighbouring windows, as a fraction of the window.
    """
    command = [sys.executable, "-c", SCRIPT, way, str(overlap)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | MMAP_ENVIRONMENT)
    result = json.loads(done.stdout)
    return result["windows"], result["megabytes"]


def measure(*, rounds: int, clock: str) -> dict[str, object]:
    """Return MB by number of windows, and the ratio of the most windows to the fewest; memory does not vary."""
    megabytes = {
        way: [extra_megabytes(way, overlap) for overlap in (OVERLAPS if way != "monai" else OVERLAPS[:3])]
        for way in ("window_mean", "fused", "monai")
    }
    ratios = {}
    for way, points in megabytes.items():
        (few, little), (many, much) = points[0], points[-1]
        ratio = round(much / little, 4)
        ratios[f"{way}, {many} / {few} windows"] = {
            "median": ratio,
            "least": ratio,
            "largest": ratio,
            "low_precision": False,
            # A cost; of autograd through MONAI, a high one is no fault of ours.
            "higher_is_better": way == "monai",
        }
    return {"megabytes": megabytes, "ratios": ratios}
