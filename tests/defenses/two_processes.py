# SPDX-License-Identifier: Apache-2.0
"""Training by the calls of the tests, run as one of two processes: ``python -m ... SCENARIOS.json``."""

import json
import sys
from pathlib import Path

import torch

from robust3d.defenses.launch import joined
from robust3d.defenses.processes import Processes
from robust3d.defenses.run import Training
from robust3d.foundation.errors import InputError
from tests.defenses.conftest import ball_cases, build_recipe


def no_zoo(model: str, stage: str) -> Path:
    raise InputError(f"no zoo here: {model}/{stage}")


def train(job: dict, processes: Processes) -> str:
    """Train the first stage of a job to its end or step; return what it was refused for."""
    cases = ball_cases()
    if job.get("other_cases_in_process") == processes.rank:
        cases = cases[::-1]
    recipe = build_recipe(**job["recipe"])
    steps: list[int] = []
    try:
        training = Training(
            recipe, Path(job["out"]), cases[:2], cases[2:], find_weights=no_zoo,
            device=torch.device("cpu"), processes=processes,
        )  # fmt: skip
        if job.get("stop_in_process") is None:
            training.run_stage("coarse", lambda *_: None)
        else:
            training.run_stage(
                "coarse",
                lambda done, *_: steps.append(done),
                stop=lambda: processes.rank == job["stop_in_process"] and steps[-1] == job["stop_at"],
            )
    except InputError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as processes:
        path = Path(sys.argv[1])
        said = [train(job, processes) for job in json.loads(path.read_text())]
        path.with_suffix(f".{processes.rank}.json").write_text(json.dumps(said))
