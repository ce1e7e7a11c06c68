# SPDX-License-Identifier: Apache-2.0
"""Shards as jobs of a real Slurm: workers are killed, jobs taken down and requeued in the middle."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.scale.comparing import assert_same
from tests.cluster.killing import kill_a_holder

PATIENCE = 400
"""Seconds to wait for the jobs; a busy machine is many times slower than a free one."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * PATIENCE)]

SEEDS = (pytest.param(0, id="once"), pytest.param(1, id="again-1"), pytest.param(2, id="again-2"))
"""Of the random moments; .ci/run leaves out those that are called again."""


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


def logs(out: Path) -> str:
    return "".join(path.read_text() for path in (out / "jobs").glob("*_log.*"))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_killed_and_a_job_requeued(slurm, tiny_zoo, serial, tmp_path, monkeypatch, seed) -> None:
    """Two shards of three workers: SIGKILL of one worker, and the job of the other shard cancelled and requeued."""
    monkeypatch.setenv("SLURM_CONF", str(slurm / "slurm.conf"))
    chosen = random.Random(seed)
    submit(tiny_zoo, tmp_path, "--shards", "2", "--workers", "3")
    wait_for(lambda: [row[0] for row in squeue("%T")] == ["RUNNING"] * 2, PATIENCE)
    killed, its_job = kill_a_holder(tmp_path, chosen, PATIENCE)
    requeued = next(row[0] for row in squeue("%i") if row[0] != its_job)
    subprocess.run(["scontrol", "requeue", requeued], check=True)
    wait_for(lambda: not squeue("%i"), PATIENCE)
    told = logs(tmp_path)
    assert f"worker {killed} was killed by SIGKILL" in told
    assert "DUE TO JOB REQUEUE" in told
    assert_same(tmp_path, serial)
    status = subprocess.run(
        [sys.executable, "-m", "robust3d", "status", str(tmp_path)], capture_output=True, check=True, text=True
    ).stdout
    assert [line.split("│")[3].strip() for line in status.splitlines() if "│" in line] == ["4", "4", "8"]


def test_a_job_that_slurm_warns_requeues_itself(slurm, tiny_zoo, serial, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm / "slurm.conf"))
    submit(tiny_zoo, tmp_path, "--shards", "1")
    wait_for(lambda: begun(tmp_path), PATIENCE)
    job = squeue("%i")[0][0]
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    wait_for(lambda: not squeue("%i"), PATIENCE)
    assert "Requeued job" in logs(tmp_path)
    assert_same(tmp_path, serial)


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
