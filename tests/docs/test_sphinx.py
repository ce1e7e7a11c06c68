# SPDX-License-Identifier: Apache-2.0
"""The pages and the API reference are built without a warning, and hold what they promise."""

import subprocess
import sys
from pathlib import Path

import robust3d

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_is_built_without_a_warning(tmp_path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", "-d", tmp_path / "trees", DOCS]
    done = subprocess.run([*command, tmp_path / "html"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    reference = (tmp_path / "html" / "api.html").read_text(encoding="utf-8")
    assert [name for name in robust3d.__all__ if f'id="robust3d.{name}"' not in reference] == []
    pages = {path.stem for path in DOCS.glob("*.md")}
    assert pages == {path.stem for path in (tmp_path / "html").glob("*.html")} - {"genindex", "search", "py-modindex"}
