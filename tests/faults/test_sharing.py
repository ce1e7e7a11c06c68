# SPDX-License-Identifier: Apache-2.0
"""Two writers of one folder, clocks that jump, and a worker that hangs."""

import json
import os
import signal
import time

import pytest

from tests.faults.inspection import cells, refuse_halves, result
from tests.faults.test_kills import group
from tests.faults.work import COMMANDS


@pytest.mark.parametrize("name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("run", "train")), "attack"])
def test_two_writers_of_one_folder(launcher, work, whole, tmp_path, name) -> None:
    out = tmp_path / "shared" / "out"
    both = [launcher.start(*COMMANDS[name](work, out), folder=tmp_path) for _ in range(2)]
    for child in both:
        code, errors = child.end()
        assert code == 0, errors
    refuse_halves(out)
    assert result(out) == whole(name).result


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_clocks_that_jump(launcher, work, whole, tmp_path, seed) -> None:
    out = tmp_path / "shared"
    faults = [
        ("tests.faults.disk:jump", {"seed": seed}),
        ("tests.faults.disk:jump_of_folder", {"folder": str(out), "seed": seed}),
    ]
    both = [launcher.start(*work.run(out), folder=tmp_path, fault=fault) for fault in faults]
    for child in both:
        code, errors = child.end()
        assert code == 0, errors
        assert "Traceback" not in errors
    refuse_halves(out)
    assert result(out) == whole("run").result


@pytest.mark.slow
def test_a_cell_whose_workers_hang_is_set_aside_and_told(launcher, work, whole, tmp_path) -> None:
    out = tmp_path / "hung"
    child = launcher.start(*work.run(out, "--workers", "2", "--patience", "20"), folder=tmp_path)
    chosen, stopped = "", []
    while child.running():
        for path in out.glob("claims/*"):
            ticket = path.name.partition(".")[0]
            try:
                owner = json.loads(path.read_text())["pid"]
            except (OSError, ValueError):
                continue
            if ticket == (chosen or ticket) and owner not in stopped and owner != child.pid:
                os.kill(owner, signal.SIGSTOP)
                # Only if it still held the cell once it stood still.
                if path.exists():
                    chosen = ticket
                    stopped.append(owner)
                else:
                    os.kill(owner, signal.SIGCONT)
        time.sleep(0.002)
    code, errors = child.end()
    assert (code, len(stopped)) == (2, 2), errors
    assert "Traceback" not in errors
    assert errors.count("made no progress for") == 2
    assert "1 of 12 cells failed" in errors
    assert not group(child)
    failure = json.loads((out / "failed" / f"{chosen}.json").read_text())
    assert failure["set_aside"]
    assert "2 workers ended in it: one made no progress for" in failure["reason"]
    kept = cells(out)
    assert len(kept) == 11
    code, errors = launcher.start(*work.run(out), folder=tmp_path).end()
    assert code == 0, errors
    assert kept.items() <= cells(out).items()
    assert result(out) == whole("run").result
