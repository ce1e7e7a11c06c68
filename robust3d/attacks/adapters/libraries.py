# SPDX-License-Identifier: Apache-2.0
"""The optional attack libraries: imported when an attack runs, and kept from the home folder and from log files."""

from __future__ import annotations

import importlib
import logging.config
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Literal

from robust3d.foundation.errors import InputError, nearest
from robust3d.threat.model import ThreatModel

Library = Literal["torchattacks", "art"]

_DISTRIBUTIONS: dict[Library, str] = {"torchattacks": "torchattacks", "art": "adversarial-robustness-toolbox"}


def require(library: Library) -> None:
    """Refuse, without importing anything, to go on without a library.

    Raises
    ------
    InputError
        If it is not installed.
    """
    if find_spec(library) is None:
        raise InputError(f"{_DISTRIBUTIONS[library]} is not installed; run: pip install 'robust3d[attacks]'")


def load(library: Library, module: str | None = None) -> Any:
    """Import a library, or one of its modules, without a trace in the home folder or in logging.

    Parameters
    ----------
    library : str
        ``"torchattacks"`` or ``"art"``.
    module : str, optional
        Such as ``"art.estimators"``; the library itself by default.

    Raises
    ------
    InputError
        If it is not installed, or its import fails.
    """
    require(library)
    try:
        if library == "art" and "art" not in sys.modules:
            _load_art()
        return importlib.import_module(module or library)
    except ImportError as error:
        raise InputError(
            f"{_DISTRIBUTIONS[library]} cannot be imported ({error}); run: pip install --force-reinstall "
            f"--no-deps {_DISTRIBUTIONS[library]}"
        ) from error


def library_version(library: Library) -> str:
    """Return such as ``"torchattacks 3.5.1"``, for results: another version may be another attack."""
    return f"{_DISTRIBUTIONS[library]} {getattr(load(library), '__version__', 'of unknown version')}"


def check_attack(library: Library, attack: str, allowed: Collection[str], refused: Mapping[str, str]) -> None:
    """Refuse an attack of a library that is unknown, or known to be wrong on volumes.

    Raises
    ------
    InputError
        With the reason and the alternative, or the nearest name.
    """
    if attack in refused:
        raise InputError(f"{library} attack {attack!r} is refused: {refused[attack]}")
    if attack not in allowed:
        raise InputError(f"unknown {library} attack {attack!r}; {nearest(attack, allowed)}")


def check_alike(threat: ThreatModel, library: Library) -> None:
    """Refuse bounds or ranges that differ by channel: the libraries know one for all.

    Raises
    ------
    InputError
        With the alternative.
    """
    if threat.epsilons or threat.valids:
        raise InputError(
            f"{library} moves all channels by one epsilon within one range, and the threat model has one a channel; "
            "use an attack of our own, such as the card 'pgd'"
        )


def _load_art() -> None:
    config = _load_art_config()
    with _logging_left_alone():
        importlib.import_module("art").__dict__["config"] = config
    logging.getLogger("art").addHandler(logging.NullHandler())


def _load_art_config() -> ModuleType:
    """Import ``art.config`` ahead of the rest: its import creates ``~/.art``, so it sees another home folder.

    Only this one small module does; a user's own ``~/.art/config.json`` is not read.
    """
    package = find_spec("art")
    folder = next(iter((package and package.submodule_search_locations) or []), None)
    spec = folder and spec_from_file_location("art.config", Path(folder) / "config.py")
    if not spec or spec.loader is None or not Path(spec.origin or "").is_file():
        raise ImportError("the module 'art' is another package of that name")
    module = module_from_spec(spec)
    with TemporaryDirectory() as folder, _home(folder):
        spec.loader.exec_module(module)
    # Where ART itself would keep downloads; nothing is created until one is asked for.
    module.__dict__["ART_DATA_PATH"] = str(Path("~/.art/data").expanduser())
    sys.modules["art.config"] = module
    return module


@contextmanager
def _home(folder: str) -> Iterator[None]:
    names = ("HOME", "USERPROFILE")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, folder))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _logging_left_alone() -> Iterator[None]:
    """Keep ART from configuring logging on import, which closes every handler of the process: log files end there."""
    configure = logging.config.dictConfig

    def configure_others(config: Any) -> None:
        if "art" not in config.get("loggers", {}):
            configure(config)

    logging.config.dictConfig = configure_others
    try:
        yield
    finally:
        logging.config.dictConfig = configure
