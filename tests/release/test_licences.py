# SPDX-License-Identifier: Apache-2.0
"""docs/licences.md names every package that pyproject.toml asks for, under the licence that the package states."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

WORDS = {
    "Apache-2.0": "apache",
    "BSD-2-Clause": "bsd",
    "BSD-3-Clause": "bsd",
    "MIT": "mit",
    "MPL-2.0": "mpl",
    "PSF-based": "python software foundation",
}
"""What an installed package says in one way or another, since metadata give ids of SPDX, classifiers or free text."""


def table() -> dict[str, tuple[str, set[str]]]:
    """Return licence and extras by package."""
    rows = re.findall(r"^\| ([\w.-]+) \| ([\w.-]+)[^|]* \| ([^|]+) \|$", (ROOT / "docs/licences.md").read_text(), re.M)
    return {name.lower(): (licence, set(needed.split(", "))) for name, licence, needed in rows if name != "package"}


def asked() -> dict[str, set[str]]:
    """Return what each package is needed for by pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"always": project["dependencies"], **project["optional-dependencies"]}
    groups["development"] = groups.pop("dev")
    found: dict[str, set[str]] = {}
    for group, requirements in groups.items():
        for requirement in requirements:
            name = re.match(r"[\w.-]+", requirement)[0].lower()
            if name != "robust3d":
                found.setdefault(name, set()).add(group)
    # What an extra brings is listed under it alone.
    return {name: needed - {"development"} or needed for name, needed in found.items()}


def test_every_dependency_is_listed_and_no_other() -> None:
    assert {name: needed for name, (_, needed) in table().items()} == asked()


def test_installed_packages_state_the_licence_of_the_table() -> None:
    rows = table()
    command = [sys.executable, "-m", "piplicenses", "--from=mixed", "--format=json", "--packages", *rows]
    stated = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    # Names are looked for as they are spelled in the metadata.
    found = {one["Name"].lower().replace("_", "-"): one["License"].lower() for one in stated}
    assert len(found) > 8
    for name, text in found.items():
        assert WORDS[rows[name][0]] in text, (name, text)


def test_weights_are_under_the_licence_that_is_told() -> None:
    cards = [tomllib.loads(path.read_text())["model"] for path in (ROOT / "zoo").glob("*/card.toml")]
    assert len(cards) > 4
    for card in cards:
        # Share alike, as its data are; OpenKBP is under MIT, and phantoms are generated.
        expected = "CC BY-SA 4.0" if "split hippocampus" in card["data"] else "Apache-2.0"
        assert card["licence"] == expected, card["name"]
