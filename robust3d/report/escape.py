# SPDX-License-Identifier: Apache-2.0
"""Text from files, made harmless in Markdown."""

from __future__ import annotations

from robust3d.foundation.text import printable


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, within a table too."""
    text = printable(" ".join(text.split())).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for sign in "|`*_[]":
        text = text.replace(sign, f"\\{sign}")
    return text
