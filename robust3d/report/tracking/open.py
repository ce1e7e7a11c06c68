# SPDX-License-Identifier: Apache-2.0
"""Trackers by name, opened for a run and closed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from robust3d.foundation.errors import InputError, nearest
from robust3d.foundation.files import make_folder
from robust3d.report.tracking.mlflow import MLflowTracker
from robust3d.report.tracking.tensorboard import TensorBoardTracker
from robust3d.report.tracking.tracker import Tracker, Trackers
from robust3d.report.tracking.wandb import WandbTracker

TRACKERS: Mapping[str, Callable[[Path, str], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "mlflow": MLflowTracker,
    "wandb": WandbTracker,
}
"""Each takes the folder of the run and a name for it."""


@contextmanager
def open_tracker(names: Sequence[str], out: Path, *, name: str) -> Iterator[Tracker]:
    """Give a tracker that logs to all that are named; they are closed however the block ends.

    Parameters
    ----------
    names : sequence of str
        Keys of ``TRACKERS``.
    out : Path
        Folder of the run, made if it is not there.
    name : str
        What trackers call the run.

    Raises
    ------
    InputError
        If a tracker is unknown, not installed or cannot be opened.
    """
    trackers = Trackers()
    failed = True
    try:
        for one in dict.fromkeys(names):
            trackers.add(_open(one, make_folder(out), name))
        yield trackers
        failed = False
    finally:
        trackers.close(failed=failed)


def _open(kind: str, out: Path, name: str) -> Tracker:
    if kind not in TRACKERS:
        raise InputError(f"unknown tracker {kind!r}; {nearest(kind, TRACKERS)}")
    try:
        return TRACKERS[kind](out, name)
    except ImportError as error:
        raise InputError(f"--track {kind} needs it installed: pip install 'robust3d[{kind}]' ({error})") from error
    # Servers and their clients fail in ways of their own.
    except Exception as error:
        raise InputError(f"--track {kind} cannot be opened: {error}; mend its settings, or leave it out") from error
