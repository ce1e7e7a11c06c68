# SPDX-License-Identifier: Apache-2.0
"""Headers that claim more than their file holds: one sentence, exit code 2, and no memory for what is claimed."""

import gzip
import json
import resource
import struct
import subprocess
import sys
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
import torch

from robust3d.foundation.errors import InputError
from robust3d.networks.weights import load_weights
from robust3d.volume.nifti import read_grid, read_volume

DIM1, DIM2 = (40, "<h"), (16, "<q")
"""Place of the dimensions in NIfTI-1 and NIfTI-2, from nifti1.h and nifti2.h."""


def huge_nifti(kind: type, gzipped: bool) -> bytes:
    """Return less than 1 kB that claim about 100 GB: 4000 x 4000 x 3200 voxels of 2 bytes."""
    content = bytearray(kind(np.zeros((4, 5, 6), np.int16), np.eye(4)).to_bytes())
    place, layout = DIM1 if kind is nib.Nifti1Image else DIM2
    for axis, size in enumerate((4000, 4000, 3200), start=1):
        struct.pack_into(layout, content, place + axis * struct.calcsize(layout), size)
    return gzip.compress(content) if gzipped else bytes(content)


def huge_safetensors() -> bytes:
    header = {"weight": {"dtype": "F32", "shape": [25_000_000_000], "data_offsets": [0, 100_000_000_000]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 800


def long_header() -> bytes:
    return struct.pack("<Q", 100_000_000_000) + b"{}" * 400


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("read", [read_volume, read_grid])
def test_voxels_that_no_file_of_this_size_can_hold(tmp_path, kind, suffix, read) -> None:
    path = tmp_path / f"huge{suffix}"
    path.write_bytes(huge_nifti(kind, suffix == ".nii.gz"))
    assert path.stat().st_size < 1000
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="is truncated: its header claims 102400000000 bytes") as caught:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [huge_safetensors(), long_header()])
def test_tensors_that_no_file_of_this_size_can_hold(tmp_path, content) -> None:
    path = tmp_path / "huge.safetensors"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="is not a safetensors file") as caught:
        load_weights(torch.nn.Linear(2, 2), path)
    # Kibibytes; the reader is native code, which tracemalloc does not see.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert "\n" not in str(caught.value)


def test_the_command_line_ends_with_code_2(tiny_zoo, tmp_path) -> None:
    path = tmp_path / "huge.nii.gz"
    path.write_bytes(huge_nifti(nib.Nifti1Image, True))
    words = [
        "predict",
        "--model",
        "tiny",
        "--image",
        str(path),
        "--out",
        str(tmp_path / "out"),
        "--collection",
        str(tiny_zoo),
    ]
    done = subprocess.run([sys.executable, "-m", "robust3d", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "its header claims 102400000000 bytes" in done.stderr
