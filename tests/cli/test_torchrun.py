# SPDX-License-Identifier: Apache-2.0
"""The command of docs/distributed.md: two processes train one model and speak once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robust3d.foundation.cards import read_card
from robust3d.zoo.card import ModelCard
from tests.cli.test_track import RECIPE

TORCHRUN = Path(sys.executable).with_name("torchrun")


@pytest.mark.timeout(300)
@pytest.mark.skipif(not TORCHRUN.exists() and shutil.which("torchrun") is None, reason="torchrun is not installed")
def test_two_processes_train_one_model_and_speak_once(tmp_path) -> None:
    card, out = tmp_path / "short.toml", tmp_path / "out"
    card.write_text(RECIPE.replace("batch = 1", "batch = 2"))
    launcher = TORCHRUN if TORCHRUN.exists() else shutil.which("torchrun")
    # A free port, so that other runs on the machine do not meet it.
    words = [launcher, "--standalone", "--nproc-per-node", "2", "-m", "robust3d", "train", card]
    done = subprocess.run(
        [*words, "--out", out, "--device", "cpu"], capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("validation DSC") == 2
    assert done.stdout.count("saved model resdsn-short") == 1
    assert read_card(out / "model" / "card.toml", ModelCard).training.coarse_iterations in (2, 4)
