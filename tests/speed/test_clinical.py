# SPDX-License-Identifier: Apache-2.0
"""Resident memory of the whole path on a clinical volume, 512 x 512 x 400 voxels in float32, as multiples of it.

Beyond that of the program with one window batch.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.speed.memory import MMAP_ENVIRONMENT

SHAPE = (512, 512, 400)

# A single convolution, since buffers are what is measured; windows of 64 voxels on the seed's grid with few of them.
SCRIPT = """
import json, sys
import numpy as np, torch
from robust3d.attacks.cards import load_attack
from robust3d.benchmarks.cell import Cell
from robust3d.segment.grid import seed
from robust3d.segment.intensity import hu_window
from robust3d.segment.segmenter import Segmenter
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume

def status(key):
    return int(next(line for line in open("/proc/self/status") if line.startswith(key)).split()[1]) * 1024

def restart_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")

def case(shape):
    random = np.random.default_rng(0)
    image = np.empty(shape, np.float32)
    for number in range(shape[0]):
        image[number] = random.normal(0, 120, shape[1:])
    label = np.zeros(shape, np.uint8)
    middle = tuple(slice(length // 2, length // 2 + 4) for length in shape)
    label[middle] = 1
    return Volume(image, label, np.eye(4), (1.0, 1.0, 1.0), "case")

torch.set_num_threads(1)
torch.manual_seed(0)
segmenter = Segmenter.from_network(
    torch.nn.Conv3d(1, 2, 3, padding=1), window=64, grid=seed(1), intensity=hu_window(-100, 240),
    weights_sha256="0" * 64, min_component=0.2,
)
threat = ThreatModel(epsilon=10.2, unit="HU", valid=(-100, 240))
attacks = {"clean": None, "fgsm": load_attack("fgsm"), "ifgsm": load_attack("ifgsm")}

def measure(name, volume):
    return Cell("clinical", "small", "case", attacks[name], threat, 0).measure(segmenter, volume)

# The peak of volumes of 2 MB: one window batch, and whatever the libraries load once.
for name in attacks:
    measure(name, case((96, 80, 72)))
base = status("VmHWM")
volume = case(SHAPE)
result = {}
for name in attacks:
    restart_peak()
    record = measure(name, volume)
    result[name] = {
        "volumes": (status("VmHWM") - base) / volume.image.nbytes,
        "windows": record["forward_windows"] + record["gradient_windows"],
        "linf": record["linf"],
        "seconds": record["seconds"],
    }
print(json.dumps(result))
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_a_clinical_volume_takes_at_most_six_of_its_size_beside_a_window_batch() -> None:
    script = SCRIPT.replace("SHAPE", repr(SHAPE))
    environment = os.environ | MMAP_ENVIRONMENT
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    result = json.loads(done.stdout)
    print(json.dumps(result, indent=1))  # noqa: T201 (the figures are what one runs it for)
    assert result["clean"]["windows"] == 9 * 9 * 7
    assert result["ifgsm"]["windows"] > result["fgsm"]["windows"] > result["clean"]["windows"]
    assert 0 < result["fgsm"]["linf"] <= 10.2001
    # The case itself, its label and every buffer of attack and evaluation.
    for name, figures in result.items():
        assert figures["volumes"] <= 6, f"{name}: {figures['volumes']:.2f} volumes"
