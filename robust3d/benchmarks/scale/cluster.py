# SPDX-License-Identifier: Apache-2.0
"""Shards of a run as jobs of a cluster, through submitit."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from robust3d.benchmarks.scale.shard import Shard
from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder

Cluster = Literal["slurm", "local"]
"""``local`` runs the jobs as processes of this machine, to try them."""

_GRACE = 20.0
"""Seconds that a run has to release its claims when its job is to make room."""


@dataclass(frozen=True)
class ShardJob:
    """A job: one shard of a run, in a process of its own.

    Parameters
    ----------
    command : tuple of str
        Command line with its shard.
    """

    command: tuple[str, ...]

    def __call__(self) -> None:
        """Run the shard to its end.

        Raises
        ------
        subprocess.CalledProcessError
            If it fails, so that the job does too.
        """
        # Slurm signals every process of a job before it takes it down; submitit's own process alone answers.
        process = subprocess.Popen(self.command, preexec_fn=_ignore_warning_signal)
        try:
            code = process.wait()
        finally:
            # Left by the exception with which submitit requeues.
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(_GRACE)
                except subprocess.TimeoutExpired:
                    process.kill()
        if code:
            raise subprocess.CalledProcessError(code, self.command)

    def checkpoint(self) -> Any:
        """Return the job that goes on after preemption or the time limit: the same, since finished cells are kept."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _ignore_warning_signal() -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def submit(
    command: Sequence[str], shards: int, folder: Path, cluster: Cluster, parameters: dict[str, Any]
) -> list[str]:
    """Queue every shard of a command as a job and return the jobs' numbers.

    Parameters
    ----------
    command : sequence of str
        Command line without ``--shard``.
    shards : int
        Number of jobs; in arrays that the cluster accepts.
    folder : Path
        For scripts and logs; every node must see it.
    cluster : str
        Where to.
    parameters : dict
        Of submitit's executor.

    Raises
    ------
    InputError
        If submitit is not installed, the cluster does not answer or refuses the jobs.
    """
    try:
        import submitit
    except ImportError as error:
        raise InputError("robust3d submit needs submitit: pip install 'robust3d[cluster]'") from error
    limit = _array_limit() if cluster == "slurm" else shards
    executor = submitit.AutoExecutor(make_folder(folder), cluster=cluster)
    executor.update_parameters(**parameters)
    jobs = [ShardJob((*command, "--shard", str(Shard(index + 1, shards)))) for index in range(shards)]
    numbers: list[str] = []
    for first in range(0, shards, limit):
        try:
            numbers.extend(job.job_id for job in executor.submit_array(jobs[first : first + limit]))
        except submitit.core.utils.FailedJobError as error:
            queued = f"; {len(numbers)} shards are queued" if numbers else ""
            raise InputError(f"the cluster refused shards from {first + 1} on: {_last_line(error)}{queued}") from error
    return numbers


def _array_limit() -> int:
    """Return how many tasks a job array may have; their numbers from 0 stay below Slurm's MaxArraySize."""
    command = ["scontrol", "show", "config"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except FileNotFoundError as error:
        raise InputError(
            "there is no Slurm on this machine (no scontrol); call robust3d submit on a login node"
        ) from error
    except subprocess.SubprocessError as error:
        detail = getattr(error, "stderr", None) or str(error)
        raise InputError(f"Slurm does not answer: {detail}; is the controller up, and SLURM_CONF right?") from error
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, flags=re.MULTILINE)
    if found is None:
        raise InputError("scontrol show config tells no MaxArraySize; is this Slurm?")
    if found.group(1) == "0":
        raise InputError("this Slurm has job arrays switched off (MaxArraySize = 0); ask its administrator")
    return int(found.group(1))


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
