# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def command(tiny_zoo):
    """The command line of a run of ``tiny-bench``."""

    def build(out: Path, *extra: str) -> list[str]:
        start = [sys.executable, "-m", "robust3d", "run", "tiny-bench", "--out", str(out)]
        return [*start, "--collection", str(tiny_zoo), *extra]

    return build


@pytest.fixture(scope="session")
def serial(command, tmp_path_factory) -> Path:
    """Folder of an undisturbed run in one process."""
    out = tmp_path_factory.mktemp("serial")
    subprocess.run(command(out), check=True, capture_output=True)
    return out
