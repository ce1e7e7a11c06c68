# SPDX-License-Identifier: Apache-2.0
"""Small work that every kind of fault is tried on: three cases, a cascade with random weights, a short recipe."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robust3d.volume.volume import Volume

DATA = 'source = "phantom"\ncases = 2\nshape = [40, 36, 32]\nspacing = [6.0, 6.0, 8.0]'

_STAGE = """
iterations = 8
batch = 2
window = 16
learning_rate = 0.01
validate_every = 4
validation_windows = 2
checkpoint_every = 2
"""

RECIPE = f"""
seed = 1
recipe = {{ name = "short", description = "a few steps" }}
reference = {{ paper = "none" }}
data = {{ source = "folder", train_cases = 2, validation_cases = 1 }}
network = {{ name = "resdsn", width = 2 }}
intensity = {{ low = -100.0, high = 240.0 }}
deploy = {{ coarse_grid = "seed(1)", fine_grid = "seed(1)", margin = [2, 2, 2] }}

[coarse]
sampling = "anywhere"{_STAGE}
[fine]
sampling = "foreground"
start = "coarse"{_STAGE}
"""


class Balls:
    """A bright ball in noise."""

    names: tuple[str, ...] = ("ball_0", "ball_1", "ball_2")
    shape = (24, 20, 20)

    def load(self, name: str) -> Volume:
        generator = np.random.default_rng(int(name.removeprefix("ball_")))
        axes = np.meshgrid(*(np.arange(size) for size in self.shape), indexing="ij")
        label = (sum((axis - centre) ** 2 for axis, centre in zip(axes, (12, 10, 9), strict=True)) < 36).astype(
            np.uint8
        )
        image = np.rint(generator.normal(40, 30, label.shape) + 60 * label).astype(np.float32)
        return Volume(image=image, label=label, affine=np.diag([2.0, 2, 2, 1]), spacing=(2.0, 2.0, 2.0), name=name)


@dataclass(frozen=True)
class Work:
    """Folders of the collection, the cases and the recipe."""

    zoo: Path
    data: Path
    recipe: Path

    def run(self, out: Path, *more: object) -> list[object]:
        """Words of a run of 12 cells."""
        # One shard of one: without it, a probe of the device's speed comes first.
        common = ["run", "balls", "--out", out, "--data", self.data, "--collection", self.zoo, "--device", "cpu"]
        return [*common, *(more or ("--shard", "1/1"))]

    def train(self, out: Path) -> list[object]:
        """Words of a training of 16 steps."""
        return ["train", self.recipe, "--out", out, "--data", self.data, "--device", "cpu", "--name", "short"]

    def attack(self, out: Path) -> list[object]:
        """Words of an attack on one case."""
        image, label = self.data / "imagesTr/ball_0_0000.nii.gz", self.data / "labelsTr/ball_0.nii.gz"
        common = ["attack", "--model", "balls", "--collection", self.zoo, "--attack", "fgsm", "--epsilon", 10.2]
        return [*common, "--image", image, "--label", label, "--out", out, "--device", "cpu"]

    def phantom(self, out: Path) -> list[object]:
        """Words that write one procedural case."""
        return ["data", "phantom", "--out", out, "--cases", 1, "--shape", 40, 36, 32, "--spacing", 6, 6, 8]


COMMANDS: dict[str, Callable[[Work, Path], list[object]]] = {
    "run": Work.run,
    "two workers": lambda work, out: work.run(out, "--workers", "2"),
    "train": Work.train,
    "attack": Work.attack,
    "phantom": Work.phantom,
}
