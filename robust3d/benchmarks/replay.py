# SPDX-License-Identifier: Apache-2.0
"""Recompute the volumes behind stored cells, which hold figures only; every input is checked by its hash first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robust3d.attacks.attack import Attack
from robust3d.benchmarks.attacks import find_attack
from robust3d.benchmarks.card import read_benchmark_card
from robust3d.benchmarks.cell import CLEAN, Cell
from robust3d.benchmarks.results import CellKey, ClassCounts, ResultCell, Results, counted_dsc
from robust3d.data.dataset import Dataset
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import count
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.placed import placed
from robust3d.segment.precision import Precision
from robust3d.volume.channels import most_changed
from robust3d.volume.volume import Volume

_MEND = "give the collections of that run with --collection, or leave the volumes out with --cases 0"
_PRECISIONS: tuple[Precision, ...] = ("exact", "fast")


@dataclass(frozen=True)
class Replayed:
    """One cell, computed anew.

    Parameters
    ----------
    image : ndarray of float32, shape of the volume
        The volume that was segmented, in its unit.
    mask : ndarray of uint8, shape (D1, D2, D3)
        Deployed prediction.
    counts : dict of str to ClassCounts
        Voxels by foreground class.
    dsc, stored : float
        Mean foreground DSC, percent: now, and in the results. They may differ by rounding on another processor.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    counts: dict[str, ClassCounts]
    dsc: float
    stored: float

    @property
    def agrees(self) -> bool:
        """Whether the DSC is that of the results, to a millionth of a percent."""
        return abs(self.dsc - self.stored) < 1e-6


@dataclass(frozen=True)
class ReplayedCase:
    """All cells of one case.

    Parameters
    ----------
    volume : Volume
        Labelled clean case.
    origin : ndarray of float32, shape (D1, D2, D3)
        The clean image clipped to the valid range, from which perturbations are measured.
    cells : dict
        By model and attack, in the order of the results.
    channel : int
        Which one of several ``origin`` and the images of ``cells`` hold: the one that changes most for its range.
    """

    volume: Volume
    origin: NDArray[np.float32]
    cells: dict[tuple[str, str], Replayed]
    channel: int = 0


@dataclass
class Replay:
    """Recomputes cases of a run.

    Parameters
    ----------
    results : Results
        Stored cells.
    collections : Collections
        Where models, attacks and the benchmark's card lie.
    load : callable
        Gives a pipeline from its name and precision.
    data : str, optional
        Folder of the cases, for benchmarks that do not generate them.
    """

    results: Results
    collections: Collections
    load: Callable[[str, Precision], Pipeline]
    data: str | None = None
    _pipelines: dict[str, Pipeline] = field(default_factory=dict)
    _attacks: dict[tuple[str, Precision], Attack] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.threat = self.results.threat
        card = read_benchmark_card(self.results.first.benchmark, self.collections)
        self._dataset: Dataset = card.dataset(self.data, self.collections)

    def check(self, cases: Sequence[str]) -> None:
        """Refuse, before anything is computed, cells whose model, settings, attack, threat model or volume is another.

        Raises
        ------
        InputError
            With what differs.
        """
        for name in cases:
            volume = self.volume(name)
            for cell in self._cells(name):
                for difference in self.differences(cell, volume):
                    raise InputError(f"{difference}; {_MEND}")

    def differences(self, cell: ResultCell, volume: Volume) -> Iterator[str]:
        """Yield each input of a cell that is another here, with both values, a clause each."""
        pipeline, planned = self._pipeline(cell), self._cell(cell)
        settings: dict[str, Any] | None = None if planned.attack is None else planned.attack.settings()
        for what, here, there in (
            (f"volume of case {cell.case} ({self._dataset.origin(cell.case)})", volume.sha256, cell.volume_sha256),
            (f"weights of {cell.model}", pipeline.weights_sha256, cell.model_sha256),
            (f"settings of {cell.model}", pipeline.settings(), cell.settings.pipeline),
            (f"settings of attack {cell.attack}", settings, cell.settings.attack),
            (f"identity of {', '.join(cell.key)}", planned.key(pipeline, volume.sha256), cell.cell),
        ):
            if here != there:
                yield f"{what}: {there} in {self.results.path} and {here} here"

    def case(self, name: str, report: Callable[[CellKey], None]) -> ReplayedCase:
        """Compute all cells of a case; ``report`` is called after each."""
        volume = self.volume(name)
        origin = self.threat.origin(torch.from_numpy(volume.image)).numpy()
        cells = {}
        for cell in self._cells(name):
            cells[cell.model, cell.attack] = self.cell(cell, volume)
            report(cell.key)
        number = most_changed(origin, (cell.image for (_, attack), cell in cells.items() if attack != CLEAN))
        if volume.channels == 1:
            return ReplayedCase(volume, origin, cells)
        shown = {key: replace(cell, image=cell.image[number]) for key, cell in cells.items()}
        return ReplayedCase(volume, origin[number], shown, number)

    def cell(self, cell: ResultCell, volume: Volume) -> Replayed:
        """Compute one cell of a case."""
        pipeline, attack = placed(self._pipeline(cell), volume), self._cell(cell).attack
        image = volume.image
        if attack is not None:
            image = attack(pipeline, volume, self.threat, cell.seed).volume.image
        mask, label = pipeline.predict(image).mask, volume.known_label()
        counts = {str(index): ClassCounts(**asdict(count(mask, label, index))) for index in range(1, pipeline.classes)}
        return Replayed(image, mask, counts, 100 * counted_dsc(counts), 100 * cell.dsc)

    def volume(self, name: str) -> Volume:
        """Read or generate a case.

        Raises
        ------
        InputError
            If it is not in the data, or damaged.
        """
        if name not in self._dataset.names:
            raise InputError(f"case {name} of {self.results.path} is not in the data; give its folder with --data")
        return self._dataset.load(name)

    def _cells(self, case: str) -> list[ResultCell]:
        return [cell for cell in self.results.cells.values() if cell.case == case]

    def _cell(self, cell: ResultCell) -> Cell:
        attack = None
        if cell.attack != CLEAN:
            # The source of a transfer attack is in the precision of the run.
            precision: Precision = "fast" if "bfloat16" in str(cell.settings.pipeline) else "exact"
            key = cell.attack, precision
            if key not in self._attacks:
                self._attacks[key] = find_attack(cell.attack, lambda name: self.load(name, precision), self.collections)
            attack = self._attacks[key]
        return Cell(cell.benchmark, cell.model, cell.case, attack, self.threat, cell.seed)

    def _pipeline(self, cell: ResultCell) -> Pipeline:
        """Return what measured a cell, in the precision of its gradients."""
        name = cell.member or cell.model
        if name not in self._pipelines:
            for precision in _PRECISIONS:
                pipeline = self.load(name, precision)
                if pipeline.settings() == cell.settings.pipeline:
                    break
            self._pipelines[name] = pipeline
        return self._pipelines[name]
