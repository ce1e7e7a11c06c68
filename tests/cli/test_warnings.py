# SPDX-License-Identifier: Apache-2.0
"""Warnings on the command line: one line each, and each once."""

import sys
import warnings

from robust3d.cli import app as module


def test_a_warning_is_told_once_wherever_it_comes_from(monkeypatch, capsys) -> None:
    def command(*_: object, **__: object) -> None:
        warnings.warn("too few steps \x1b[31m", stacklevel=1)
        warnings.warn("too few steps \x1b[31m", stacklevel=1)
        warnings.warn("another", stacklevel=1)

    monkeypatch.setattr(module, "app", command)
    monkeypatch.setattr(sys, "argv", ["robust3d"])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        module.main()
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("warning: too few steps")
    assert "\x1b" not in told[0]
    assert told[1] == "warning: another"
