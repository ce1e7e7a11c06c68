# SPDX-License-Identifier: Apache-2.0
"""Templates in which every text is escaped, and the two ways in which a page gets the shared style and script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

_HERE = "robust3d.report.web"
_NAMES = ("style.css", "tables.js")


@dataclass(frozen=True)
class Assets:
    """Style and script of a page.

    Parameters
    ----------
    policy : str
        Content-Security-Policy: what the page may load and run.
    style, script : str
        Elements of the page, as HTML.
    """

    policy: str
    style: str
    script: str


LINKED = Assets(
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; img-src 'self' file: data: blob:; "
    "connect-src data: blob:; base-uri 'none'; form-action 'none'",
    '<link rel="stylesheet" href="style.css">',
    '<script src="tables.js" defer></script>',
)
"""For a page beside the files of ``shared_files``."""


def inlined() -> Assets:
    """Return style and script for a page that is one file; it runs nothing else."""
    style, script = (data.decode("utf-8") for _, data in shared_files())
    return Assets(
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        "<style>" + style + "</style>",
        "<script>" + script + "</script>",
    )


def shared_files() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the shared style and script."""
    for name in _NAMES:
        yield name, files(_HERE).joinpath("static", name).read_bytes()


def environment(package: str) -> Environment:
    """Return the templates of a package, on top of the shared ones; a name that looks like HTML stays a name."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(_HERE)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
