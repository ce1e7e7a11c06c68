# SPDX-License-Identifier: Apache-2.0
"""The pages of the report and the files that they share."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from robust3d.report.web.pages import LINKED, environment, shared_files

VIEWER = "niivue-0.69.0.umd.js"
"""Vendored build of NiiVue; its licence lies beside it."""

_ASSETS = (
    ("static", "report.css"),
    ("static", "viewer.js"),
    ("vendor", VIEWER),
    ("vendor", "LICENSE-niivue.txt"),
)

_ENVIRONMENT = environment("robust3d.report.html")


def write_page(template: str, path: Path, **content: Any) -> None:
    """Fill a template and write the page."""
    text = _ENVIRONMENT.get_template(template).render(niivue=VIEWER, assets=LINKED, here=path.name, **content)
    path.write_text(text, encoding="utf-8")


def write_assets(folder: Path, *, viewer: bool) -> None:
    """Copy style and scripts, and NiiVue with its licence where a page needs it."""
    for name, data in shared_files():
        (folder / name).write_bytes(data)
    for source, name in _ASSETS:
        if viewer or source != "vendor":
            data = files("robust3d.report.html").joinpath(source, name).read_bytes()
            (folder / name).write_bytes(data)
