# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from robust3d.data.writing import write_folder
from tests.faults.inspection import result
from tests.faults.launcher import Launcher
from tests.faults.work import COMMANDS, DATA, RECIPE, Balls, Work


@dataclass(frozen=True)
class Undisturbed:
    """What a command writes that nothing disturbs, and how many seconds it takes."""

    result: dict[str, Any]
    seconds: float


@pytest.fixture(scope="session")
def work(tiny_zoo, tmp_path_factory) -> Work:
    """What is run under faults."""
    root = tmp_path_factory.mktemp("faults")
    zoo = root / "collection"
    (zoo / "zoo" / "balls").mkdir(parents=True)
    for path in (tiny_zoo / "zoo" / "tiny").iterdir():
        content = path.read_bytes()
        (zoo / "zoo" / "balls" / path.name).write_bytes(content.replace(b'name = "tiny"', b'name = "balls"'))
    card = (tiny_zoo / "benchmarks" / "tiny-bench.toml").read_text().replace(DATA, 'source = "folder"')
    (zoo / "benchmarks").mkdir()
    for before, now in (("tiny-bench", "balls"), ('"tiny"', '"balls"'), ("ifgsm", "identity")):
        card = card.replace(before, now)
    (zoo / "benchmarks" / "balls.toml").write_text(card)
    labels = {"background": 0, "pancreas": 1}
    write_folder(Balls(), root / "data", name="Balls", labels=labels, report=lambda _: None)
    (root / "short.toml").write_text(RECIPE)
    return Work(zoo, root / "data", root / "short.toml")


@pytest.fixture(scope="session")
def launcher(tmp_path_factory):
    """Starts commands as processes without the cost of a start of Python."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.faults.launcher"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    yield Launcher(process, tmp_path_factory.mktemp("printed"))
    process.stdin.close()
    assert process.wait(timeout=60) == 0


@pytest.fixture(scope="session")
def whole(launcher, work, tmp_path_factory) -> Callable[[str], Undisturbed]:
    """Gives what an undisturbed command leads to."""
    kept: dict[str, Undisturbed] = {}
    root = tmp_path_factory.mktemp("whole")

    def find(name: str) -> Undisturbed:
        if name not in kept:
            # Named as the others are, since the card of a trained model quotes the last part of the path.
            out = root / name / "out"
            began = time.monotonic()
            code, errors = launcher.start(*COMMANDS[name](work, out), folder=root).end()
            assert code == 0, errors
            kept[name] = Undisturbed(result(out), time.monotonic() - began)
        return kept[name]

    return find
