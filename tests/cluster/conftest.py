# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.scale.conftest import command as command
from tests.benchmarks.scale.conftest import serial as serial

SCRIPT = Path(__file__).parent / "slurm.sh"


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[Path]:
    """A real Slurm of one node on loopback; its folder."""
    missing = [name for name in ("slurmctld", "slurmd", "munged", "setpriv") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("starting Slurm needs root")
    root = tmp_path_factory.mktemp("slurm")
    # Folders of pytest are closed to munge's user, who must reach its key and socket.
    for folder in (root, *root.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    subprocess.run(["bash", SCRIPT, "start", root], check=True)
    try:
        yield root
    finally:
        subprocess.run(["bash", SCRIPT, "stop", root], check=True)
