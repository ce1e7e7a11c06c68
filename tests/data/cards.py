# SPDX-License-Identifier: Apache-2.0
"""A recipe and a benchmark ``tiny-cv`` for cross-validation on a folder."""

from pathlib import Path

RECIPE = """
seed = 1

[recipe]
name = "tiny-cv"
description = "test"

[reference]
paper = "none"

[data]
source = "folder"
validation_cases = 1

[network]
name = "resdsn"
width = 2

[intensity]
low = -100.0
high = 240.0

[coarse]
iterations = 2
batch = 1
window = {window}
sampling = "anywhere"
learning_rate = 0.01
validate_every = 2
validation_windows = 1

[deploy]
coarse_grid = "overlap(0.0)"
fusion = "vote"
"""

BENCHMARK = """
[benchmark]
name = "tiny-cv"
title = "tiny-cv"
models = ["resdsn-tiny-cv"]
attacks = ["random-sign"]

[data]
source = "folder"

[threat]
epsilon = 10.2
unit = "HU"
valid = [-100.0, 240.0]

[reference]
paper = "none"
"""


def write_cards(root: Path, *, window: int) -> None:
    for kind, text in (("defenses", RECIPE.format(window=window)), ("benchmarks", BENCHMARK)):
        (root / kind).mkdir(parents=True, exist_ok=True)
        (root / kind / "tiny-cv.toml").write_text(text)
