# SPDX-License-Identifier: Apache-2.0
"""The page of one case: Fig. 5 panels, Fig. 4 overlays, losses, and the volume viewer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.replay import Replayed, ReplayedCase
from robust3d.benchmarks.results import CellKey, Results
from robust3d.metrics.counts import Counts, count
from robust3d.report.html.layers import viewer_layers
from robust3d.report.html.pages import write_page
from robust3d.report.html.style import save_svg
from robust3d.report.html.tiles import Tile, Tiler
from robust3d.report.html.trace import trace_figure
from robust3d.report.slices import fullest_slice, most_affected_slices

_SLICES = 3
"""Most affected slices a model."""


@dataclass(frozen=True)
class PanelRow:
    """One row of a Fig. 5 panel."""

    attack: str
    cell: Replayed
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Overlay:
    """One slice of Fig. 4, before and after the worst attack; DSC of the slice in percent."""

    index: int
    tiles: tuple[Tile, Tile]
    scores: tuple[float, float]


@dataclass(frozen=True)
class ModelView:
    """Everything that the page shows of one model; ``worst`` is the attack of the overlays, empty for none."""

    name: str
    rows: list[PanelRow]
    worst: str
    overlays: list[Overlay]


@dataclass(frozen=True)
class CaseLink:
    """What leads to a page: its file, and the model's overlay that is most affected, if any."""

    file: str
    model: str = ""
    worst: str = ""
    overlay: Overlay | None = None


def case_file(number: int) -> str:
    """Return the name of the page of a case."""
    return f"case-{number}.html"


def write_case_page(
    folder: Path,
    number: int,
    case: ReplayedCase,
    results: Results,
    records: Mapping[CellKey, dict[str, Any]],
    *,
    budget: int,
    common: Mapping[str, Any],
) -> CaseLink:
    """Write ``case-N.html`` with its pictures and volumes, and return what leads to it.

    Parameters
    ----------
    folder : Path
        Of the report.
    number : int
        Of the case, for file names, which a case's own name may not suit.
    case : ReplayedCase
        Volumes and predictions.
    results, records : Results and mapping
        Stored cells.
    budget : int
        Bytes that the viewer's volumes may take.
    common : mapping
        What all pages show.
    """
    stem = f"case-{number}"
    (folder / stem).mkdir()
    window = (float(case.origin.min()), float(case.origin.max()))
    # An image of one value has no range to show.
    window = window if window[1] > window[0] else (window[0], window[0] + 1)
    tiler = Tiler(folder / stem, f"{stem}/", window, case.volume.spacing[:2])
    models = list(dict.fromkeys(model for model, _ in case.cells))
    views = [_model(case, model, place, results, tiler) for place, model in enumerate(models)]
    layers, note = viewer_layers(case, budget)
    if case.volume.channels > 1:
        note += f" Shown is channel {case.channel} of {case.volume.channels} (from 0), changed most for its range."
    (folder / f"{stem}.js").write_text(f"window.robust3dLayers = {json.dumps(layers)};\n", encoding="utf-8")
    traces: dict[str, dict[str, list[float]]] = {}
    for (model, attack), _ in case.cells.items():
        traces.setdefault(attack, {})[model] = records[model, attack, case.volume.name].get("trace", [])
    figure = trace_figure(traces)
    if figure is not None:
        save_svg(figure, folder / stem / "trace.svg")
    write_page(
        "case.html.j2",
        folder / case_file(number),
        **common,
        case=case.volume.name,
        stem=stem,
        shape=case.volume.shape,
        spacing=case.volume.spacing,
        axial=fullest_slice(case.volume.known_label()),
        window=window,
        models=views,
        attacks={model: [one for own, one in case.cells if own == model and one != CLEAN] for model in models},
        differing=[(*key, cell) for key, cell in case.cells.items() if not cell.agrees],
        trace=figure is not None,
        note=note,
    )
    shown = [(view, overlay) for view in views for overlay in view.overlays[:1]]
    if not shown:
        return CaseLink(case_file(number))
    view, overlay = max(shown, key=lambda one: one[1].scores[0] - one[1].scores[1])
    return CaseLink(case_file(number), view.name, view.worst, overlay)


def _model(case: ReplayedCase, model: str, place: int, results: Results, tiler: Tiler) -> ModelView:
    cells = {attack: cell for (own, attack), cell in case.cells.items() if own == model}
    axial = fullest_slice(case.volume.known_label())
    rows = []
    for number, (attack, cell) in enumerate(cells.items()):
        name, what = f"{place}-{number}", f"{attack}, {model}, slice {axial}"
        rows.append(
            PanelRow(
                attack,
                cell,
                (
                    tiler.image(f"{name}-image", cell.image[:, :, axial], f"image, {what}"),
                    tiler.prediction(f"{name}-mask", cell.mask[:, :, axial], f"prediction, {what}"),
                    tiler.difference(
                        f"{name}-difference",
                        # The clean image differs from its clipped self where no perturbation is.
                        case.origin[:, :, axial] if attack == CLEAN else cell.image[:, :, axial],
                        case.origin[:, :, axial],
                        f"difference from clean, magnified, {what}",
                    ),
                ),
            )
        )
    bounded = [attack for attack in cells if attack != CLEAN and results.cells[model, attack, case.volume.name].bounded]
    if CLEAN not in cells or not bounded:
        return ModelView(model, rows, "", [])
    worst = min(bounded, key=lambda attack: cells[attack].dsc)
    return ModelView(model, rows, worst, _overlays(case, cells[CLEAN], cells[worst], (place, worst), tiler))


def _overlays(
    case: ReplayedCase, clean: Replayed, attacked: Replayed, about: tuple[int, str], tiler: Tiler
) -> list[Overlay]:
    label = case.volume.known_label()
    overlays = []
    for index in most_affected_slices(label, clean.mask, attacked.mask, number=_SLICES):
        tiles, scores = [], []
        for name, cell in ((CLEAN, clean), (about[1], attacked)):
            planes = (cell.image[:, :, index], label[:, :, index], cell.mask[:, :, index])
            file = f"{about[0]}-overlay-{index}-{'clean' if name == CLEAN else 'attacked'}"
            tiles.append(tiler.overlay(file, *planes, f"truth and prediction, {name}, slice {index}"))
            scores.append(100 * _foreground(planes[2] > 0, planes[1]).dsc)
        overlays.append(Overlay(index, (tiles[0], tiles[1]), (scores[0], scores[1])))
    return overlays


def _foreground(mask: Any, label: Any) -> Counts:
    """Count any foreground class of a slice as one."""
    # 255 stays what it is: a voxel that does not count.
    merged = np.where((label > 0) & (label < 255), 1, label)
    return count(mask.astype(np.uint8), merged)
