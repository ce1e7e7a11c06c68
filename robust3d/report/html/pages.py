# SPDX-License-Identifier: Apache-2.0
"""Pages from templates; every text is escaped, so that a name that looks like HTML stays a name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

VIEWER = "niivue-0.69.0.umd.js"
"""Vendored build of NiiVue; its licence lies beside it."""

_ASSETS = (
    ("static", "report.css"),
    ("static", "tables.js"),
    ("static", "viewer.js"),
    ("vendor", VIEWER),
    ("vendor", "LICENSE-niivue.txt"),
)

_ENVIRONMENT = Environment(
    loader=PackageLoader("robust3d.report.html"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(template: str, path: Path, **content: Any) -> None:
    """Fill a template and write the page."""
    text = _ENVIRONMENT.get_template(template).render(niivue=VIEWER, **content)
    path.write_text(text, encoding="utf-8")


def write_assets(folder: Path, *, viewer: bool) -> None:
    """Copy style and scripts, and NiiVue with its licence where a page needs it."""
    for source, name in _ASSETS:
        if viewer or source != "vendor":
            data = files("robust3d.report.html").joinpath(source, name).read_bytes()
            (folder / name).write_bytes(data)
