# SPDX-License-Identifier: Apache-2.0
"""Write an attack in thirty lines and get it on the board.

This runs it on a benchmark and writes its tables into runs/alternating. The public board then takes it as a claim:
robust3d leaderboard claim runs/alternating --entry leaderboards/BENCHMARK/MODEL.json --by NAME --evidence URL ...
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from robust3d.attacks.attack import Adversarial, Attack, Attempt
from robust3d.benchmarks.comparison import compare_attacks
from robust3d.benchmarks.leaderboard import leaderboard
from robust3d.benchmarks.request import RunRequest
from robust3d.report.tables import write_tables
from robust3d.segment.pipeline import Pipeline
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume


class Alternating(Attack):
    """Sign steps of epsilon / 3 up cross entropy and soft Dice by turns, along the exact gradient."""

    algorithm: Literal["alternating"] = "alternating"
    steps: int = 6

    def __call__(self, pipeline: Pipeline, volume: Volume, threat: ThreatModel, seed: int = 0) -> Adversarial:
        """Attack one labelled case."""
        attempt = Attempt(pipeline, volume, threat, seed)
        candidate = threat.project(attempt.clean, attempt.clean)
        for step in range(self.steps):
            _, gradient = attempt.loss_gradient(candidate, loss=("ce", "dice")[step % 2], mode="fused")
            candidate = threat.project(candidate + threat.epsilon / 3 * gradient.sign(), attempt.clean)
        return attempt.result(candidate)


OUT = Path("runs/alternating")
OUT.mkdir(parents=True, exist_ok=True)
request = RunRequest("phantom-pancreas-mini", models=("resdsn-c2f-natural",), device="cpu")
benchmark = replace(request.open(), attacks=[Alternating(name="alternating")])
benchmark.plan()
records = [cell.measure(benchmark.pipeline(cell), benchmark.dataset.load(cell.case)) for cell in benchmark.cells()]
board = leaderboard(records, benchmark.models, ["alternating"])
comparison = compare_attacks(records, benchmark.models, ["alternating"])
write_tables(board, comparison, records, benchmark.threat, benchmark.title, OUT)
print((OUT / "leaderboard.md").read_text(encoding="utf-8"))
