# SPDX-License-Identifier: Apache-2.0
"""The first steps of a recipe as a record, by which a retraining elsewhere can be told from another training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from robust3d.defenses.run import Training
from robust3d.foundation.digest import digest_tensors
from robust3d.foundation.errors import InputError
from robust3d.foundation.files import write_text


def reproduce(training: Training, steps: int, *, stop: Callable[[], bool] = lambda: False) -> str | None:
    """Train the first steps of the first stage and write ``reproduction.json``; return a sentence with its hash.

    When ``stop`` says so between two steps, nothing is kept, as a record holds the loss of every step, and ``None``
    returned.

    The file holds hashes of the settings, of the starting weights and cases and of all weights after the last step, the
    loss of each step, and the machine. The checkpoint of the last step stays, so that training can go on from it.

    Raises
    ------
    InputError
        If the folder already holds a checkpoint, or the stage has fewer steps.
    """
    name, stage = next(iter(training.recipe.stages.items()))
    if not 0 < steps <= stage.iterations:
        raise InputError(f"--steps must be from 1 to the {stage.iterations} of stage {name}, not {steps}")
    trainer = training.trainer(name)
    if trainer.progress.iteration:
        raise InputError(
            f"{training.checkpoint(name)} is of step {trainer.progress.iteration}, and --steps records from the first "
            "one; give another --out"
        )
    losses: list[float] = []
    trainer.run(lambda _, loss, __: losses.append(round(loss, 6)), stop=lambda: len(losses) == steps or stop())
    if len(losses) < steps:
        training.processes.once(lambda: training.checkpoint(name).unlink(missing_ok=True))
        return None
    record = {
        "recipe": training.recipe.recipe.name,
        "stage": name,
        "steps": steps,
        "settings_sha256": trainer.progress.recipe,
        "inputs_sha256": trainer.progress.inputs,
        "weights_sha256": digest_tensors(trainer.network.state_dict()),
        "machine": machine(training.device) | {"processes": training.processes.count},
        "losses": losses,
    }
    path = training.out / "reproduction.json"
    training.processes.once(lambda: write_text(path, json.dumps(record, indent=1) + "\n"))
    return f"weights after step {steps}: SHA-256 {record['weights_sha256']}, written to {path}"


def machine(device: torch.device) -> dict[str, Any]:
    """Return what decides the last bits of a training beside its settings: processor, threads and torch."""
    found: dict[str, Any] = {"processor": _processor(device), "torch": torch.__version__}
    if device.type == "cpu":
        found |= {"instructions": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
    return found


def _processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    return " ".join(
        f"{label}{facts[key]}"
        for key, label in (("model name", ""), ("cpu family", "family "), ("model", "model "))
        if key in facts
    )
