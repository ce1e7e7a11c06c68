# SPDX-License-Identifier: Apache-2.0
"""The whole report: an index, a page for each of the most affected cases, and the provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.diagnostics.flags import Flag
from robust3d.benchmarks.replay import Replay
from robust3d.benchmarks.results import CellKey, Results
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.report.html import provenance
from robust3d.report.html.board import board_view, cases_view
from robust3d.report.html.case_page import case_file, write_case_page
from robust3d.report.html.figures import pictures
from robust3d.report.html.pages import write_assets, write_page
from robust3d.report.html.style import save_svg

KIND = "robust3d report"
"""What the folder is."""

LIMIT = 30_000_000
"""Bytes that a report may take, so that it can be sent by mail and kept in a repository."""

_VOLUMES = 20_000_000
"""Of these, for the volumes of the viewer."""


@dataclass(frozen=True)
class Sources:
    """What a report is made of.

    Parameters
    ----------
    results : Results
        The run.
    further : sequence of Results
        The same benchmark at other epsilons, for the curves.
    flags : mapping
        Of the doctor, by model.
    collections : Collections
        Where cards lie.
    replay : Replay or None
        Recomputes the volumes of ``cases``.
    cases : sequence of str
        Those with a page of their own.
    """

    results: Results
    further: Sequence[Results] = ()
    flags: Mapping[str, Sequence[Flag]] = field(default_factory=dict)
    collections: Collections = field(default_factory=Collections.open)
    replay: Replay | None = None
    cases: Sequence[str] = ()


def write_report(sources: Sources, folder: Path, report: Callable[[CellKey], None]) -> list[str]:
    """Write the report into an empty folder; ``report`` is called after every recomputed cell.

    Returns
    -------
    list of str
        A sentence for each cell whose recomputed DSC is not the stored one.

    Raises
    ------
    InputError
        Before anything is recomputed, where the sources do not fit together; if the report is too large.
    """
    results, records = sources.results, sources.results.records()
    pages = [("Leaderboard", "index.html"), ("Provenance", "provenance.html")]
    if sources.replay is not None:
        pages += [(name, case_file(number)) for number, name in enumerate(sources.cases)]
    common = {
        "benchmark": results.first.benchmark,
        "threat": str(results.threat),
        "version": version("robust3d"),
        "pages": pages,
    }
    figures = pictures(results, sources.further)
    links, warnings = {}, []
    if sources.replay is not None:
        sources.replay.check(sources.cases)
        for number, name in enumerate(sources.cases):
            case = sources.replay.case(name, report)
            budget = _VOLUMES // len(sources.cases)
            links[name] = write_case_page(folder, number, case, results, records, budget=budget, common=common)
            warnings += [
                f"{attack} on {model}, {name}: DSC {cell.dsc:.4f} percent now and {cell.stored:.4f} in the results"
                for (model, attack), cell in case.cells.items()
                if not cell.agrees
            ]
    (folder / "figures").mkdir()
    for one in figures:
        save_svg(one.figure, folder / one.file)
    write_page(
        "index.html.j2",
        folder / "index.html",
        **common,
        board=board_view(results, _titles(results), sources.flags),
        cases=cases_view(results, {name: link.file for name, link in links.items()}),
        links=links,
        flags=sources.flags,
        figures=figures,
        facts=_facts(results),
    )
    write_page(
        "provenance.html.j2",
        folder / "provenance.html",
        **common,
        rows=provenance.cost_view(results, records),
        commands=provenance.commands(results),
        environments=provenance.environments([*records.values()]),
        models=results.weights,
        volumes={cell.case: cell.volume_sha256 for cell in results.cells.values()},
        seed=results.first.seed,
        threat_settings=results.first.threat,
        settings=provenance.settings(results),
        cards=provenance.cards(results, sources.collections),
    )
    write_assets(folder, viewer=bool(links))
    _check_size(folder)
    return warnings


def _facts(results: Results) -> list[tuple[str, str]]:
    """Return what was measured, in numbers."""
    cells = results.cells.values()
    attacks = {cell.attack for cell in cells} - {CLEAN}
    return [
        ("models", str(len(results.models))),
        ("attacks", str(len(attacks))),
        ("cases", str(len({cell.case for cell in cells}))),
        (
            f"epsilon, {results.first.threat['norm']}",
            f"{results.threat.bound} {results.threat.unit}",
        ),
    ]


def _titles(results: Results) -> dict[str, str]:
    """Return what each attack is, from its settings in the results."""
    titles = {}
    for cell in results.cells.values():
        about = cell.settings.attack or {}
        steps = f", {about['steps']} steps" if "steps" in about else ""
        titles[cell.attack] = f"{about.get('algorithm', 'attack')}{steps}"
    return titles


def _check_size(folder: Path) -> None:
    size = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
    if size > LIMIT:
        raise InputError(
            f"the report takes {size / 1e6:.1f} MB and the limit is {LIMIT / 1e6:.0f} MB; report fewer --cases"
        )
