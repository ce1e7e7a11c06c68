# SPDX-License-Identifier: Apache-2.0
"""The one exception for mistakes in what a user gave: cards, files, options, models."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from robust3d.foundation.text import printable


class InputError(ValueError):
    """What a user gave cannot be used; the message is one sentence that says how to mend it.

    The command line prints the message alone, on one line, and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        # Messages of other libraries that are quoted in ours hold line breaks, and names in files anything.
        super().__init__(printable(" ".join(message.split())))


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint with the known name closest to ``word``, or up to 50 names when none is close.

    Parameters
    ----------
    word : str
        What the user wrote.
    known : iterable of str
        The names that would have been right.

    Returns
    -------
    str
        For example ``"did you mean 'ifgsm'?"`` or ``"known: fgsm, ifgsm"``.
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    more = f" and {len(names) - 50} more" if len(names) > 50 else ""
    return f"known: {', '.join(names[:50])}{more}" if names else "none are known"
