# SPDX-License-Identifier: Apache-2.0
"""Shards as jobs of a real Slurm; one is taken down and requeued in the middle."""

import os
import subprocess
import sys
import time

import pytest

from tests.benchmarks.scale.comparing import assert_same


def squeue(*columns: str) -> list[list[str]]:
    """Return the queue, one row a job."""
    form = "|".join(columns)
    done = subprocess.run(
        ["squeue", "--noheader", "--array", f"--format={form}"], capture_output=True, check=True, text=True
    )
    return [line.split("|") for line in done.stdout.splitlines()]


def wait_for(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, squeue("%i", "%T", "%r")
        time.sleep(0.02)


def submit(tiny_zoo, out, *extra: str) -> str:
    start = [sys.executable, "-m", "robust3d", "submit", "tiny-bench", "--cluster", "slurm", "--out", str(out)]
    return subprocess.run(
        [*start, "--collection", str(tiny_zoo), *extra], capture_output=True, check=True, text=True
    ).stdout


def begun(out) -> bool:
    """Return whether a job is about to measure its first cell."""
    return any((out / "plans").glob("[!.]*.json"))


@pytest.mark.slow
def test_two_shards_of_which_one_is_requeued(slurm, tiny_zoo, serial, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm / "slurm.conf"))
    submit(tiny_zoo, tmp_path, "--shards", "2", "--workers", "2")
    cells = tmp_path / "cells"
    wait_for(lambda: begun(tmp_path), 200)
    before = {path.name for path in cells.glob("[!.]*.json")}
    assert len(before) < 8
    victim = next(row[0] for row in squeue("%i", "%T") if row[1] == "RUNNING")
    subprocess.run(["scontrol", "requeue", victim], check=True)
    wait_for(lambda: not squeue("%i"), 250)
    log = "".join(path.read_text() for path in (tmp_path / "jobs").glob("*_log.err"))
    assert "DUE TO JOB REQUEUE" in log
    assert_same(tmp_path, serial)
    status = subprocess.run(
        [sys.executable, "-m", "robust3d", "status", str(tmp_path)], capture_output=True, check=True, text=True
    ).stdout
    assert [line.split("│")[3].strip() for line in status.splitlines() if "│" in line] == ["4", "4", "8"]


@pytest.mark.slow
def test_a_job_that_slurm_warns_requeues_itself(slurm, tiny_zoo, serial, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm / "slurm.conf"))
    submit(tiny_zoo, tmp_path, "--shards", "1")
    wait_for(lambda: begun(tmp_path), 200)
    job = squeue("%i")[0][0]
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    wait_for(lambda: not squeue("%i"), 250)
    log = "".join(path.read_text() for path in (tmp_path / "jobs").glob("*_log.*"))
    assert "Requeued job" in log
    assert_same(tmp_path, serial)


@pytest.mark.slow
def test_more_shards_than_an_array_may_have(slurm, tiny_zoo, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm / "slurm.conf"))
    # Only the queue is looked at: its jobs start in an hour.
    told = submit(tiny_zoo, tmp_path, "--shards", "7", "--slurm", "begin=now+1hour")
    try:
        jobs = [row[0] for row in squeue("%i")]
        arrays = {job.partition("_")[0] for job in jobs}
        # MaxArraySize is 4 in slurm.sh.
        assert (len(jobs), len(arrays)) == (7, 2)
        assert "shards 1/7 to 7/7 are queued" in told
    finally:
        subprocess.run(["scancel", *arrays], check=True, env=os.environ)
