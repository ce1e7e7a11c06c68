# SPDX-License-Identifier: Apache-2.0
"""A case of one sphere and a recomputation of it, made up for tests of the report."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robust3d.benchmarks.replay import Replayed, ReplayedCase
from robust3d.benchmarks.results import CellKey, Results
from robust3d.volume.volume import Volume

NASTY = '<img src=x onerror="window.harm=1"><script>window.harm=1</script>\'&$x$'
"""Name of a model."""

SHAPE = (48, 20, 16)


@dataclass
class MadeReplay:
    """Stands for the recomputation: a sphere in noise, whose prediction moves by three voxels under any attack."""

    results: Results

    def check(self, cases: list[str]) -> None:
        assert set(cases) <= {"case_0", "case_1"}

    def case(self, name: str, report: Callable[[CellKey], None]) -> ReplayedCase:
        grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
        label = (((grid - np.array([[[[10]]], [[[9]]], [[[8]]]])) ** 2).sum(axis=0) < 25).astype(np.uint8)
        random = np.random.default_rng(0)
        image = random.integers(-100, 240, SHAPE).astype(np.float32)
        affine = np.diag([-2.0, 2.0, 3.0, 1.0])
        affine[:3, 3] = (5, -7, 9)
        volume = Volume(image, label, affine, (2.0, 2.0, 3.0), name)
        cells = {}
        for cell in self.results.cells.values():
            if cell.case == name:
                moved, mask = image, label
                if cell.attack != "clean":
                    moved = image + random.uniform(-10.2, 10.2, SHAPE).astype(np.float32)
                    mask = np.roll(label, 3, axis=0)
                cells[cell.model, cell.attack] = Replayed(moved, mask, cell.classes, 100 * cell.dsc, 100 * cell.dsc)
                report(cell.key)
        return ReplayedCase(volume, image, cells)
