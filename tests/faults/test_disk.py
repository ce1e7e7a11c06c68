# SPDX-License-Identifier: Apache-2.0
"""Full, read-only and vanishing output folders: one sentence and exit code 2, nothing half-written, no work lost."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.inspection import cells, refuse_halves, result
from tests.faults.launcher import Launcher
from tests.faults.work import COMMANDS, Work


def call(launcher: Launcher, words: list[object], folder: Path, fault=None) -> tuple[int, str]:
    return launcher.start(*words, folder=folder, fault=fault).end()


def refuse_bad_failure(code: int, errors: str) -> None:
    """Check that a failure is told in one sentence; warnings and progress may come before."""
    assert code == 2, (code, errors)
    assert "Traceback" not in errors, errors
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, errors


def fill(launcher: Launcher, work: Work, root: Path, name: str, count: int, before: dict) -> int:
    """Let the disk be full after ``count`` changes; returns how many the command tried, 0 if it ended well."""
    root.mkdir()
    out, tally = root / "out", root / "tally"
    fault = ("tests.faults.disk:full_after", {"folder": str(out), "count": count, "tally": str(tally)})
    words = COMMANDS[name](work, out)
    code, errors = call(launcher, words, root, fault)
    if code == 0:
        assert result(out) == before
        return 0
    refuse_bad_failure(code, errors)
    assert not list(out.rglob(".partial-*"))
    refuse_halves(out)
    kept = cells(out)
    code, errors = call(launcher, words, root)
    assert code == 0, errors
    assert kept.items() <= cells(out).items()
    assert result(out) == before
    return int(tally.read_text())


@pytest.mark.parametrize(("name", "count"), [("run", 25), ("attack", 4)])
def test_a_disk_that_is_full(launcher, work, whole, tmp_path, name, count) -> None:
    assert fill(launcher, work, tmp_path / "one", name, count, whole(name).result) > count


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_is_full_from_any_change_on(launcher, work, whole, tmp_path, name) -> None:
    stride = int(os.environ.get("ROBUST3D_STRIDE", "1"))
    count = 0
    while fill(launcher, work, tmp_path / str(count), name, count, whole(name).result):
        count += stride
    sys.stdout.write(f"{name}: full at {count // stride} places\n")
    assert count > 5


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["run", "train", "attack", "phantom"])
def test_files_that_end_in_the_middle(launcher, work, whole, tmp_path, name) -> None:
    draw = random.Random(name)
    largest = max(len(one) for one in whole(name).result.values() if isinstance(one, bytes))
    for number in range(8):
        out = tmp_path / str(number) / "out"
        size = draw.randrange(4096, largest)
        code, errors = call(
            launcher, COMMANDS[name](work, out), tmp_path, ("tests.faults.disk:limit_files", {"size": size})
        )
        refuse_bad_failure(code, errors)
        assert "File too large" in errors
        refuse_halves(out)
        code, errors = call(launcher, COMMANDS[name](work, out), tmp_path)
        assert code == 0, errors
        assert result(out) == whole(name).result


@pytest.fixture
def mount(tmp_path):
    """Gives a file system of its own with the options given; skips where that is not permitted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def make(options: str) -> Path:
        while mounted:
            subprocess.run(["umount", mounted.pop()], check=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield make
    while mounted:
        subprocess.run(["umount", mounted.pop()], check=True)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_small_disk(launcher, work, whole, tmp_path, mount, name) -> None:
    needed = sum(len(one) if isinstance(one, bytes) else 4096 for one in whole(name).result.values())
    full = 0
    for tenth in range(1, 11):
        disk = mount(f"size={max(8, needed * tenth // 10240)}k")
        out = disk / "out"
        code, errors = call(launcher, COMMANDS[name](work, out), tmp_path)
        refuse_halves(out)
        if code == 0:
            assert result(out) == whole(name).result
            continue
        full += 1
        refuse_bad_failure(code, errors)
        assert "No space left on device" in errors or "cells failed" in errors or "stopped at their start" in errors
        kept = cells(out)
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        code, errors = call(launcher, COMMANDS[name](work, out), tmp_path)
        assert code == 0, errors
        assert kept.items() <= cells(out).items()
        assert result(out) == whole(name).result
    sys.stdout.write(f"{name}: full {full} times of 10\n")
    assert full


@pytest.mark.parametrize("name", ["run", "attack"])
def test_a_read_only_folder(launcher, work, tmp_path, mount, name) -> None:
    if os.geteuid():
        out = tmp_path / "out"
        out.mkdir(mode=0o555)
    else:
        # Permissions do not stop root; a file system that is mounted read-only does.
        out = mount("ro") / "out"
    code, errors = call(launcher, COMMANDS[name](work, out), tmp_path)
    refuse_bad_failure(code, errors)
    assert "cannot write to the output folder" in errors
    assert "Read-only file system" in errors or "Permission denied" in errors


def lose(launcher: Launcher, work: Work, root: Path, name: str, before: dict, seconds: float) -> int:
    """Remove the output folder after a while; the command fails with a sentence, or its results are whole."""
    root.mkdir()
    out = root / "out"
    fault = ("tests.faults.disk:vanish", {"folder": str(out), "seconds": seconds})
    code, errors = call(launcher, COMMANDS[name](work, out), root, fault)
    if code:
        refuse_bad_failure(code, errors)
        refuse_halves(out)
        again, errors = call(launcher, COMMANDS[name](work, out), root)
        assert again == 0, errors
    # Whoever is told that all went well finds all results, unless the folder went after the end.
    if out.exists():
        assert result(out) == before
    return code


def test_a_folder_that_vanishes(launcher, work, whole, tmp_path) -> None:
    undisturbed = whole("run")
    lose(launcher, work, tmp_path / "one", "run", undisturbed.result, 0.6 * undisturbed.seconds)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_vanishes_at_any_moment(launcher, work, whole, tmp_path, name) -> None:
    draw = random.Random(name)
    undisturbed = whole(name)
    moments = [draw.random() * undisturbed.seconds for _ in range(12)]
    codes = [
        lose(launcher, work, tmp_path / str(number), name, undisturbed.result, moment)
        for number, moment in enumerate(moments)
    ]
    sys.stdout.write(f"{name}: failed {sum(map(bool, codes))} times of {len(codes)}\n")
