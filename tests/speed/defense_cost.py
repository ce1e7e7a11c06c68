# SPDX-License-Identifier: Apache-2.0
"""What one update of the weights costs with each defense, relative to natural training: ``python -m``, JSON by option.

Processor seconds of one thread, so that other work on the machine does not count; the cards take turns, a step each.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from robust3d.data.phantoms import PhantomDataset
from robust3d.defenses.recipe import Recipe
from robust3d.defenses.reproduction import machine
from robust3d.defenses.run import Training
from robust3d.defenses.stage import StageTrainer
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections

CARDS = ("natural", "noise", "free", "fast", "madry", "segpgd", "adaptive", "trades", "vaft")
"""One card for each adversary; others differ in schedule or start alone."""

WIDTH, WINDOW, BATCH = 8, 32, 2


def trainer(name: str, folder: Path, rounds: int) -> StageTrainer:
    """Return the trainer of a card's adversary at full strength, with network, window and batch equal for all."""
    recipe = read_card(Collections.open().find("defenses", name), Recipe)
    size = {"window": WINDOW, "batch": BATCH, "iterations": rounds + 2, "validate_every": 2 * rounds + 4}
    adversary = recipe.adversary and recipe.adversary.model_copy(update={"warmup": 0.0, "clean_start": None})
    recipe = recipe.model_copy(
        update={
            "coarse": recipe.coarse.model_copy(update=size | {"start": "random"}),
            "network": recipe.network.model_copy(update={"width": WIDTH}),
            "adversary": adversary,
        }
    )
    dataset = PhantomDataset("train", 1, (48, 44, 40), (5.0, 5.0, 6.0))
    cases = [dataset.load(case) for case in dataset.names]
    device = torch.device("cpu")
    return Training(recipe, folder / name, cases, cases, find_weights=Path, device=device).trainer("coarse")


def measure(rounds: int) -> dict[str, object]:
    """Return processor seconds an update and ratios to natural training, by card."""
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {name: [] for name in CARDS}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {name: trainer(name, Path(folder), rounds) for name in CARDS}
        for _ in range(rounds + 1):
            for name, one in trainers.items():
                began = time.process_time()
                one.run(lambda *_, began=began, name=name: seconds[name].append(time.process_time() - began),
                        stop=lambda: True)  # fmt: skip
    # The first round warms up.
    updates = {name: getattr(one.recipe.adversary, "replays", 1) for name, one in trainers.items()}
    typical = {name: statistics.median(values[1:]) / updates[name] for name, values in seconds.items()}
    return {
        "definition": "median processor seconds of one thread for an update of the weights, and their ratio to natural "
        f"training, on {BATCH} windows of {WINDOW} voxels, ResDSN of width {WIDTH}, precision of the cards",
        "machine": machine(torch.device("cpu")),
        "rounds": rounds,
        "rows": [
            {
                "card": name,
                "passes": one.recipe.adversary.passes if one.recipe.adversary else 1,
                "seconds": round(typical[name], 4),
                "ratio": round(typical[name] / typical["natural"], 2),
            }
            for name, one in trainers.items()
        ],
    }


def table(measured: dict[str, object]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| card | passes | s an update | ratio to natural |", "|---|---:|---:|---:|"]
    for row in measured["rows"]:
        lines.append(f"| {row['card']} | {row['passes']:g} | {row['seconds']:.3f} | {row['ratio']:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure(options.rounds)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))  # noqa: T201 - its purpose
