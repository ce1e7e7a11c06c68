# SPDX-License-Identifier: Apache-2.0
"""The ``robust3d`` command: its subcommands, and mistakes as one sentence with exit code 2."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import version

from cyclopts import App, CycloptsError
from rich.console import Console

from robust3d.cli import leaderboard
from robust3d.foundation.errors import InputError
from robust3d.foundation.text import printable

app = App(
    name="robust3d",
    help="Adversarial robustness of volumetric medical image segmentation.",
    version=lambda: version("robust3d"),
    suppress_keyboard_interrupt=False,
)

# Given as text so that a command's module, and torch with it, is imported only when that command runs.
app.command("robust3d.cli.run:run", name="run", help="Run a benchmark and show its leaderboard.")
app.command("robust3d.cli.submit:submit", name="submit", help="Run a benchmark as jobs of a cluster.")
app.command("robust3d.cli.status:status", name="status", help="Show how far the runs in a folder are.")
app.command("robust3d.cli.check:check", name="check", help="Compare results with a baseline, as a gate for CI.")
app.command("robust3d.cli.verify:verify", name="verify", help="Check hashes and figures of a run anew.")
app.command("robust3d.cli.report:report", name="report", help="Write results as an HTML report that opens offline.")
app.command("robust3d.cli.export:export", name="export", help="Write results as LaTeX, nnU-Net summary or Parquet.")
app.command("robust3d.cli.doctor:doctor", name="doctor", help="Check whether a robustness figure can be trusted.")
app.command("robust3d.cli.attack:attack", name="attack", help="Attack one NIfTI volume and save the result.")
app.command("robust3d.cli.predict:predict", name="predict", help="Segment one NIfTI volume.")
app.command("robust3d.cli.train:train", name="train", help="Train a model by a recipe; the same call resumes.")
app.command("robust3d.cli.listing:models", name="models", help="List the models of the zoo.")
app.command("robust3d.cli.listing:attacks", name="attacks", help="List the attacks.")
app.command("robust3d.cli.listing:defenses", name="defenses", help="List the training recipes.")
app.command("robust3d.cli.listing:benchmarks", name="benchmarks", help="List the benchmarks.")
boards = App(name="leaderboard", help="Merge entries of many models into a public leaderboard.")
boards.default(leaderboard.board)
for command in (leaderboard.add, leaderboard.claim, leaderboard.validate, leaderboard.schema):
    boards.command(command)
app.command(boards)
data = App(name="data", help="Make, check and fetch datasets.")
data.command("robust3d.cli.data:phantom", name="phantom", help="Write procedural abdominal CTs with labels.")
data.command("robust3d.cli.data:check", name="check", help="List the cases of a folder, or all that is wrong.")
data.command("robust3d.cli.data:fetch", name="fetch", help="Download the public cases of a benchmark.")
app.command(data)


def main() -> None:
    """Run the command line; exit code 2 for a user's mistake, 130 for Ctrl-C."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    said: set[str] = set()

    def say_once(message: Warning | str, *_: object, **__: object) -> None:
        # Python's own filter tells the same sentence again for every line of code that leads to it.
        if str(message) not in said:
            said.add(str(message))
            errors.print(f"warning: {printable(str(message))}", style="yellow", markup=False)

    warnings.showwarning = say_once
    try:
        app(sys.argv[1:], exit_on_error=False, print_error=False)
    except (InputError, CycloptsError) as error:
        errors.print(f"error: {printable(str(error))}", style="red", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("interrupted; run and train go on from here when called again", markup=False)
        sys.exit(130)
