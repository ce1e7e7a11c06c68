# SPDX-License-Identifier: Apache-2.0
"""A downloader for pooch that goes on where a download broke off: datasets have gigabytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

TIMEOUT = 60.0
"""Seconds without an answer, or without a further byte, after which a download is given up."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class ResumingDownloader:
    """Load over HTTP into a file of its own, which stays where a download breaks off.

    Redirections are refused, since they could lead away from TLS. Whether the pieces make the file that was asked for
    is for pooch's checksum to tell.

    Parameters
    ----------
    part : Path
        What has come so far.
    """

    part: Path

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        """Ask for the bytes that are missing, and move the whole to ``output_file``.

        Raises
        ------
        requests.RequestException
            If the server cannot be reached, answers otherwise than with the file, or breaks off.
        OSError
            If the file cannot be written, or another process loads it.
        """
        with self.part.open("ab") as file:
            _lock(file)
            _load(url, file)
        os.replace(self.part, output_file)


def _load(url: str, file: BinaryIO) -> None:
    """Append what is missing to a file, or write it anew where the server sends all."""
    import requests

    have = file.tell()
    # A compressed transfer would have no bytes to go on from.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False) as answer:
        if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
            # There is nothing beyond: it broke off between the last byte and the move, or the file is another.
            return
        answer.raise_for_status()
        if answer.status_code not in (requests.codes.ok, requests.codes.partial):
            raise requests.RequestException(f"the answer is {answer.status_code} {answer.reason}, not the file")
        goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if answer.status_code == requests.codes.partial and not goes_on:
            raise requests.RequestException(f"asked for the bytes from {have} on, the server sent others")
        if not goes_on:
            file.truncate(0)
        came = sum(file.write(chunk) for chunk in answer.iter_content(_CHUNK))
        promised = answer.headers.get("Content-Length", "")
        # Not every version of urllib3 minds.
        if promised.isdecimal() and came < int(promised):
            raise requests.RequestException(f"it broke off after {came} of {promised} bytes")


def _lock(file: BinaryIO) -> None:
    """Refuse a file that another process loads, where the system has locks of files; its end frees it."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(f"another process is loading {file.name}") from error
