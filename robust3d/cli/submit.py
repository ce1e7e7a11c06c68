# SPDX-License-Identifier: Apache-2.0
"""``robust3d submit``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console

from robust3d.cli.options import Out


def submit(
    card: str,
    *options: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    out: Out,
    cluster: Literal["slurm", "local"],
    shards: int,
    minutes: int = 60,
    cpus: int = 1,
    gpus: int = 0,
    memory: float | None = None,
    partition: str | None = None,
    account: str | None = None,
    slurm: Annotated[tuple[str, ...], Parameter(negative=())] = (),
) -> None:
    """Run a benchmark as jobs of a cluster, one a shard; all options of robust3d run may follow.

    A job that is preempted, requeued or at its time limit goes on where it was. The last shard writes the tables into
    --out. Submit again to retry what failed; what is finished is kept.

    Parameters
    ----------
    card
        Name of a benchmark, or a path to its card.
    cluster
        slurm; or local: processes of this machine, to try it.
    shards
        Number of jobs.
    minutes
        Time limit of a job; one that reaches it is requeued.
    cpus, gpus
        Cores and GPUs of a job; for several workers in a job add --workers.
    memory
        Of a job, GB; the cluster's default otherwise.
    partition, account
        Slurm's.
    slurm
        Any other option of sbatch as NAME=VALUE, such as qos=long; repeatable.
    """
    from robust3d.benchmarks.scale.cluster import submit as submit_shards

    _check_options(card, options, out, shards)
    folder = out.resolve() / "jobs"
    command = (sys.executable, "-m", "robust3d", "run", card, "--out", str(out.resolve()), *options)
    parameters: dict[str, Any] = {
        "name": f"robust3d-{Path(card).stem}",
        "timeout_min": minutes,
        "cpus_per_task": cpus,
        "gpus_per_node": gpus or None,
        "mem_gb": memory,
        "slurm_partition": partition,
        "slurm_account": account,
        # Since Slurm 22.05 a step does not take over the job's number of cores by itself.
        "slurm_srun_args": [f"--cpus-per-task={cpus}"],
        "slurm_additional_parameters": {"requeue": True, **_pairs(slurm)},
    }
    numbers = submit_shards(command, shards, folder, cluster, parameters)
    Console(highlight=False).print(
        f"shards 1/{shards} to {shards}/{shards} are queued as jobs {numbers[0]} to {numbers[-1]}; "
        f"logs are in {folder}; robust3d status {out} shows how far they are",
        markup=False,
        soft_wrap=True,
    )


def _check_options(card: str, options: tuple[str, ...], out: Path, shards: int) -> None:
    """Refuse before anything is queued what every job would refuse."""
    from robust3d.benchmarks.scale.pulse import check_patience
    from robust3d.benchmarks.scale.shard import Shard
    from robust3d.benchmarks.scale.slots import share_machine
    from robust3d.cli.app import app
    from robust3d.cli.run import make_request
    from robust3d.foundation.errors import InputError

    if shards < 1:
        raise InputError(f"the number of shards must be 1 or more, not {shards}")
    _, bound, _ = app.parse_args(["run", card, "--out", str(out), *options], exit_on_error=False, print_error=False)
    given = dict(bound.arguments)
    if "shard" in given:
        raise InputError("submit gives every job its own --shard; leave it out")
    if given.pop("dry_run", False):
        raise InputError("submit queues jobs and estimates nothing; call robust3d run with --dry-run, or leave it out")
    if given.get("workers") is not None:
        share_machine(given["workers"], "cpu")
    if "patience" in given:
        check_patience(given["patience"])
    for name in ("out", "workers", "patience", "track"):
        given.pop(name, None)
    # On the CPU, since a login node may have no GPU.
    plan = make_request(**given).open("cpu").plan()
    Shard(1, shards).places(len(plan.cells))


def _pairs(options: tuple[str, ...]) -> dict[str, str]:
    from robust3d.foundation.errors import InputError

    pairs = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise InputError(f"--slurm {option} is not NAME=VALUE, such as qos=long")
        pairs[name.removeprefix("--")] = value
    return pairs
