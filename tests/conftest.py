# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

# One thread each: test processes run side by side, and oversubscribed threads are many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from robust3d.networks.resdsn import ResDSN
from robust3d.networks.weights import save_weights

CARD = """
[model]
name = "{name}"
description = "random weights"
defense = "none"
data = "none"
licence = "Apache-2.0"

[network]
name = "resdsn"
width = 2
classes = 2

[intensity]
low = -100.0
high = 240.0

[coarse]
weights = "coarse.safetensors"
sha256 = "{coarse}"
window = 16
grid = "seed(1)"

[fine]
weights = "fine.safetensors"
sha256 = "{fine}"
window = 16
grid = "seed(1)"

[cascade]
margin = [2, 2, 2]

[training]
recipe = "none"
command = "none"
seed = 0
coarse_sha256 = "none"
coarse_iterations = 0
coarse_validation_dsc = 0.0
validation = "none"

[reference]
paper = "none"
"""

BENCHMARK = """
[benchmark]
name = "tiny-bench"
title = "tiny"
models = ["tiny"]
attacks = ["random-sign", "fgsm", "ifgsm"]

[data]
source = "phantom"
cases = 2
shape = [40, 36, 32]
spacing = [6.0, 6.0, 8.0]

[threat]
epsilon = 10.2
unit = "HU"
valid = [-100.0, 240.0]

[reference]
paper = "none"
"""


@pytest.fixture(scope="session")
def tiny_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection with a small random cascade ``tiny`` and a benchmark ``tiny-bench`` of two phantoms."""
    root = tmp_path_factory.mktemp("collection")
    folder = root / "zoo" / "tiny"
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    hashes = {stage: save_weights(ResDSN(width=2), folder / f"{stage}.safetensors") for stage in ("coarse", "fine")}
    (folder / "card.toml").write_text(CARD.format(name="tiny", **hashes))
    (root / "benchmarks").mkdir()
    (root / "benchmarks" / "tiny-bench.toml").write_text(BENCHMARK)
    return root
