# SPDX-License-Identifier: Apache-2.0
"""A downloader for pooch that goes on where a download broke off: datasets have gigabytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        OSError
            If the server cannot be reached, answers otherwise than with the file, or breaks off.
        """
        import requests

        have = self.part.stat().st_size if self.part.exists() else 0
        # A compressed transfer would have no bytes to go on from.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False) as answer:
            # Nothing beyond what is here: it broke off between the last byte and the move, or the file is another.
            if not (have and answer.status_code == requests.codes.requested_range_not_satisfiable):
                answer.raise_for_status()
                if answer.status_code not in (requests.codes.ok, requests.codes.partial):
                    raise OSError(f"the answer is {answer.status_code} {answer.reason}, not the file")
                goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
                if answer.status_code == requests.codes.partial and not goes_on:
                    raise OSError(f"asked for the bytes from {have} on, the server sent others")
                with self.part.open("ab" if goes_on else "wb") as file:
                    began = file.tell()
                    for chunk in answer.iter_content(_CHUNK):
                        file.write(chunk)
                    came = file.tell() - began
                # Not every version of urllib3 minds.
                if came < int(answer.headers.get("Content-Length", 0)):
                    raise OSError(f"it broke off after {came} of {answer.headers['Content-Length']} bytes")
        os.replace(self.part, output_file)
