# SPDX-License-Identifier: Apache-2.0
"""Workers, processes and shards that share a run folder end with the bytes of the serial run."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robust3d.benchmarks.scale.progress import read_progress
from robust3d.cli.app import main
from tests.benchmarks.scale.comparing import assert_same
from tests.cluster.killing import owners


def workers(process) -> list[int]:
    """Return the children of a process that still run."""
    fields = [
        (path.parent.name, path.read_text().rpartition(")")[2].split()) for path in Path("/proc").glob("[0-9]*/stat")
    ]
    return [int(pid) for pid, (state, parent, *_) in fields if int(parent) == process.pid and state != "Z"]


def kill_one(out, process, chosen: random.Random) -> int:
    """Kill a worker at a random moment after some of the cells are there; return its number."""
    wanted = chosen.randrange(4)
    while process.poll() is None:
        if (out / "plans").exists() and len(list(out.glob("cells/[!.]*.json"))) >= wanted and len(workers(process)) > 2:
            time.sleep(chosen.random() * 0.1)
            victim = chosen.choice(workers(process))
            os.kill(victim, signal.SIGKILL)
            return victim
        time.sleep(0.005)
    raise AssertionError("the run ended before a worker could be killed")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3, 4))])
def test_three_workers_of_which_one_is_killed(command, serial, tmp_path, seed) -> None:
    arguments = command(tmp_path, "--workers", "3", "--attack", "random-sign", "--attack", "fgsm", "--attack", "ifgsm")
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        victim = kill_one(tmp_path, process, random.Random(seed))
        _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    # It may have had no cell.
    assert f"worker {victim} was killed by SIGKILL" in errors or "was killed" not in errors
    assert_same(tmp_path, serial)


@pytest.mark.slow
def test_a_cell_that_kills_its_workers_is_set_aside_and_tried_again_by_the_next_run(command, serial, tmp_path) -> None:
    killed: list[int] = []
    with subprocess.Popen(command(tmp_path, "--workers", "2"), stderr=subprocess.PIPE, text=True) as process:
        deadly = ""
        while process.poll() is None:
            held = owners(tmp_path)
            deadly = deadly or next(iter(held), "")
            if deadly in held and held[deadly] not in killed:
                killed.append(held[deadly])
                os.kill(held[deadly], signal.SIGKILL)
            time.sleep(0.002)
        errors = " ".join(process.communicate()[1].split())
    assert (process.returncode, len(killed)) == (2, 2)
    assert "1 of 8 cells failed" in errors
    assert "Traceback" not in errors
    progress = read_progress(tmp_path)[0].whole
    assert (progress.done, progress.set_aside, progress.failed, progress.running) == (7, 1, 0, 0)
    failure = json.loads((tmp_path / "failed" / f"{deadly}.json").read_text())
    assert failure["reason"] == "2 workers ended in it: one was killed by SIGKILL, one was killed by SIGKILL"
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    assert_same(tmp_path, serial)


def test_two_processes_share_a_folder_and_measure_no_cell_twice(command, serial, tmp_path) -> None:
    both = [subprocess.Popen(command(tmp_path), stderr=subprocess.PIPE, text=True, stdout=-3) for _ in range(2)]
    measured = 0
    for process in both:
        errors = process.communicate(timeout=240)[1]
        assert process.returncode == 0, errors
        total, stored = re.findall(r"8/(\d+) cells \((\d+) from before\)", errors)[-1]
        measured += int(total) - int(stored)
    assert measured == 8
    assert_same(tmp_path, serial)


def test_a_terminated_run_releases_its_claims(command, tmp_path) -> None:
    with subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not owners(tmp_path) and process.poll() is None:
            time.sleep(0.002)
        process.terminate()
        assert process.wait(timeout=120) in (0, 130)
    assert not list((tmp_path / "claims").iterdir())


def test_the_last_shard_writes_the_tables(tiny_zoo, serial, tmp_path, monkeypatch, capsys) -> None:
    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code
        return capsys.readouterr().out

    for index in (2, 3, 1):
        assert not (tmp_path / "leaderboard.csv").exists()
        call("run", "tiny-bench", "--out", tmp_path, "--collection", tiny_zoo, "--shard", f"{index}/3")
        rows = [line.split("│") for line in call("status", tmp_path).splitlines() if "│" in line]
        done = {row[1].strip(): int(row[3]) for row in rows}
        assert done[f"{index}/3"] == {1: 2, 2: 3, 3: 3}[index]
        assert done["all"] == {2: 3, 3: 6, 1: 8}[index]
    assert_same(tmp_path, serial)
