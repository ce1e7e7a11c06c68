# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.scale.conftest import command as command
from tests.benchmarks.scale.conftest import serial as serial

SCRIPT = Path(__file__).parent / "slurm.sh"


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """A real Slurm of one node on loopback; its folder."""
    missing = [name for name in ("slurmctld", "slurmd", "munged", "setpriv") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("starting Slurm needs root")
    # Not under pytest's own folder, which is closed to munge's user and removed by later sessions.
    root = Path(tempfile.mkdtemp(prefix="robust3d-slurm-"))
    root.chmod(0o755)
    started = subprocess.run(["bash", SCRIPT, "start", root], capture_output=True, text=True)
    if started.returncode != 0:
        # A container may forbid what its daemons need.
        subprocess.run(["bash", SCRIPT, "stop", root], check=True)
        pytest.skip(f"Slurm does not start here: {(started.stderr or started.stdout).strip()[-300:]}")
    try:
        yield root
    finally:
        subprocess.run(["bash", SCRIPT, "stop", root], check=True)
        shutil.rmtree(root, ignore_errors=True)
