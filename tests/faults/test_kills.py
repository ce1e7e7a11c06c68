# SPDX-License-Identifier: Apache-2.0
"""SIGKILL and SIGTERM at random instants: nothing half-written, finished cells stay, and the end has the same bytes."""

import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.inspection import cells, files, refuse_halves, result
from tests.faults.launcher import Child
from tests.faults.work import COMMANDS

KILLS = int(os.environ.get("ROBUST3D_KILLS", "50"))
"""Kills of each kind in the slow suite."""

NAMES = ("run", "train", "two workers")


def group(child: Child) -> list[int]:
    """Return the processes of a command that still run: itself first, then its workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == child.pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return sorted(found, key=lambda pid: (pid != child.pid, pid))


def wait_for_instant(child: Child, out: Path, draw: random.Random, expected: float) -> None:
    """Wait to a random instant: half of them anywhere in the run, half just after a file has been written."""
    end = time.monotonic() + draw.random() * expected
    if draw.random() < 0.5:
        wanted = len(list(files(out))) + draw.randrange(1, 8)
        while child.running() and len(list(files(out))) < wanted and time.monotonic() < end:
            time.sleep(0.003)
        end = time.monotonic() + draw.random() * 0.03
    while child.running() and time.monotonic() < end:
        time.sleep(min(0.01, max(0.0, end - time.monotonic())))


def kill(child: Child, number: int, draw: random.Random) -> str:
    """Send the signal to the command, one of its workers or all at once; return to whom, empty if it had ended."""
    running = group(child)
    if not running or running[0] != child.pid:
        return ""
    whom = "command" if len(running) == 1 else draw.choice(("command", "worker", "all"))
    targets = {"command": running[:1], "worker": [draw.choice(running[1:] or running)], "all": running}[whom]
    for pid in targets:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    return whom


def refuse_bad_end(code: int, errors: str, number: int, whom: str) -> None:
    """Check exit code and message of a command that was sent a signal."""
    assert "Traceback" not in errors, errors
    # A worker that was killed is replaced; one that was told to end leaves that to the command.
    good = {0, 2} if whom == "worker" else {0, -number}
    if number == signal.SIGTERM and whom != "worker":
        good.add(130)
    assert code in good, (code, whom, errors)
    assert errors.count("interrupted; run and train go on from here") == (code == 130), errors
    if code == 2:
        assert "cells failed" in errors


@pytest.fixture
def survive(launcher, work, whole, tmp_path):
    """Kill a command again and again, resume it each time, and compare its end with that of an undisturbed one."""

    def play(name: str, numbers: Sequence[signal.Signals], kills: int, seed: int) -> None:
        undisturbed = whole(name)
        draw = random.Random(seed)
        done = finished = resumed = 0
        while done < kills:
            out = tmp_path / str(finished) / "out"
            before = cells(out)
            code = -1
            while code:
                child = launcher.start(*COMMANDS[name](work, out), folder=tmp_path)
                number, whom = numbers[done % len(numbers)], ""
                # No more than a few in one folder, so that the end is seen often.
                if done < kills and resumed < 4:
                    wait_for_instant(child, out, draw, undisturbed.seconds)
                    whom = kill(child, number, draw)
                done, resumed = done + (whom != ""), resumed + 1
                assert resumed < 12
                code, errors = child.end()
                wait_for_group(child)
                refuse_halves(out)
                now = cells(out)
                assert before.items() <= now.items()
                before = now
                if whom:
                    refuse_bad_end(code, errors, number, whom)
                elif code:
                    # Two workers killed in one cell set it aside, and the next run tries it again.
                    assert (code, "cells failed" in errors) == (2, True), errors
            assert result(out) == undisturbed.result
            finished, resumed = finished + 1, 0
        sys.stdout.write(
            f"{name}: {done} kills by {signal.Signals(number).name}, {finished} runs brought to their end\n"
        )

    return play


def wait_for_group(child: Child) -> None:
    """Wait until no worker is left, which end with their command."""
    deadline = time.monotonic() + 60
    while group(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not group(child)


@pytest.mark.parametrize("name", NAMES)
def test_two_kills(survive, name) -> None:
    survive(name, [signal.SIGKILL, signal.SIGTERM], 2, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("name", NAMES)
def test_many_kills(survive, name, number) -> None:
    survive(name, [number], KILLS, seed=1000 + number)
