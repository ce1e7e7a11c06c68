# SPDX-License-Identifier: Apache-2.0
"""Trackers by name, opened for a run and closed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
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

_MODULES = {"tensorboard": "tensorboardX"}
"""What is imported, where it is not called as its tracker."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are unknown or not installed before there is anything to log; none is opened.

    Raises
    ------
    InputError
        Says what to install.
    """
    for kind in names:
        _known(kind)
        module = _MODULES.get(kind, kind)
        if find_spec(module) is None:
            raise _absent(kind, f"no module named {module!r}")


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
    _known(kind)
    try:
        return TRACKERS[kind](out, name)
    except ImportError as error:
        raise _absent(kind, str(error)) from error
    # Servers and their clients fail in ways of their own.
    except Exception as error:
        raise InputError(f"--track {kind} cannot be opened: {error}; mend its settings, or leave it out") from error


def _known(kind: str) -> None:
    if kind not in TRACKERS:
        raise InputError(f"unknown tracker {kind!r}; {nearest(kind, TRACKERS)}")


def _absent(kind: str, why: str) -> InputError:
    return InputError(f"--track {kind} needs it installed: pip install 'robust3d[{kind}]' ({why})")
