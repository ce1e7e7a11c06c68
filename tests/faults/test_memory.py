# SPDX-License-Identifier: Apache-2.0
"""A volume that cannot fit is refused before any work, and the memory of a long run does not grow."""

import gzip
import json
import os
import resource
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from robust3d.data.phantoms import PhantomDataset
from robust3d.data.writing import write_folder
from robust3d.foundation.errors import InputError
from robust3d.foundation.memory import memory_limit
from tests.faults.work import Balls

SHAPE = (4000, 4000, 3200)

TOLD = r"takes at least 715.3 GiB of memory and [\d.]+ GiB are there; crop or resample it"
"""51.2e9 voxels of 2 bytes in the file and 13 in a prediction."""


def huge(path) -> None:
    """Write the header of 102 GB of voxels, which the file holds as a hole."""
    header = bytearray(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)).to_bytes())[:352]
    header[42:48] = np.array(SHAPE, "<i2").tobytes()
    path.write_bytes(header)
    os.truncate(path, 352 + 2 * 4000 * 4000 * 3200)


@pytest.mark.parametrize("name", ["run", pytest.param("predict", marks=pytest.mark.slow)])
def test_a_volume_that_cannot_fit_is_refused_with_the_estimate(launcher, work, tmp_path, name) -> None:
    data = shutil.copytree(work.data, tmp_path / "data")
    for path in data.rglob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    card = data / "dataset.json"
    card.write_text(card.read_text().replace(".nii.gz", ".nii"))
    image = data / "imagesTr/ball_2_0000.nii"
    for path in (image, data / "labelsTr/ball_2.nii"):
        huge(path)
    words = work.run(tmp_path / "out")
    words[words.index(work.data)] = data
    if name == "predict":
        words = ["predict", "--model", "balls", "--collection", work.zoo, "--image", image, "--out", tmp_path / "out"]
    code, errors = launcher.start(*words, folder=tmp_path).end()
    assert code == 2, errors
    with pytest.raises(InputError, match=TOLD):
        raise InputError(errors)
    assert image.name in errors
    assert not list(tmp_path.glob("out/cells/*"))


def test_a_phantom_that_cannot_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"a phantom of .* voxels takes at least 619\.9 GiB"):
        PhantomDataset("test", 1, SHAPE)


def test_the_limit_of_a_process_counts() -> None:
    """Checked in a process of its own, which sets one: ``ulimit -v``."""
    script = "from robust3d.foundation.memory import memory_limit; print(memory_limit())"
    command = [sys.executable, "-c", f"import resource as r; r.setrlimit(r.RLIMIT_AS, (2**30, 2**30)); {script}"]
    assert int(subprocess.run(command, check=True, capture_output=True).stdout) == 2**30
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        assert 2**30 < memory_limit() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class ManyBalls(Balls):
    """As many cells as a long run has."""

    names = tuple(f"ball_{number}" for number in range(50))
    shape = (32, 28, 28)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_memory_of_a_long_run_is_flat(launcher, work, tmp_path) -> None:
    labels = {"background": 0, "pancreas": 1}
    write_folder(ManyBalls(), tmp_path / "data", name="Balls", labels=labels, report=lambda _: None)
    words = work.run(tmp_path / "out", "--shard", "1/1", "--model", "balls/coarse")
    words[words.index(work.data)] = tmp_path / "data"
    code, errors = launcher.start(*words, folder=tmp_path).end()
    assert code == 0, errors
    paths = sorted((tmp_path / "out/cells").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    peaks = [json.loads(path.read_text())["peak_memory_mb"] for path in paths]
    assert len(peaks) == 200
    sys.stdout.write(f"peak memory after 20, 50, 100 and 200 cells: {[peaks[n - 1] for n in (20, 50, 100, 200)]} MB\n")
    # One volume of 0.1 MB a cell that is not let go would be 15 MB.
    assert peaks[-1] - peaks[49] <= 5
