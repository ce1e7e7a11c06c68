# SPDX-License-Identifier: Apache-2.0
"""Text from files, made harmless for terminals: control characters could move the cursor or hide what follows."""

from __future__ import annotations

import re

# C0 but for tab and line feed, delete, C1, and the marks that turn the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""Return text with each control character written as its escape, such as ``\x1b``; tabs and line feeds stay."""
    return _CONTROL.sub(lambda found: _escape(found.group()), text)


def refuse_control(text: str) -> str:
    """Return text without control characters as it is.

    Raises
    ------
    ValueError
        If it holds one; names it.
    """
    found = _CONTROL.search(text)
    if found:
        raise ValueError(f"{printable(text)!r} holds the control character {_escape(found.group())}; leave it out")
    return text


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
