# SPDX-License-Identifier: Apache-2.0
"""Fetch a public dataset that a card names, by pooch (extra ``download``): unpacked only whole and checked."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import tarfile
import tempfile
from pathlib import Path

from pydantic import Field

from robust3d.data.resuming import ResumingDownloader
from robust3d.foundation.cards import Card
from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder


class Download(Card):
    """An archive at a stable public address."""

    url: str = Field(pattern=r"^https://[^\s/]+/\S+\.tar(\.gz)?$")
    checksum: str = Field(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")
    """Of the archive; ``md5`` where the publisher tells no other."""
    folder: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    """The one folder that the archive holds."""
    licence: str
    size_mb: int = Field(gt=0)
    """Of the archive, in megabytes (10^6 bytes)."""

    @property
    def archive(self) -> str:
        """Name of the archive's file."""
        return self.url.rsplit("/", 1)[-1]


def fetch(download: Download, out: Path) -> Path:
    """Download, check and unpack an archive, and return its folder in ``out``.

    The archive stays in ``out``, so that a second call needs no network; delete it when the data are there. A download
    that breaks off leaves ``ARCHIVE.part``, from whose end the next call goes on; a folder that is there already is
    returned as it is.

    Raises
    ------
    InputError
        If Python is older than 3.11.4 or pooch is not installed, the server cannot be reached, the checksum differs, or
        the archive holds anything but files in its one folder.
    """
    target = out / download.folder
    if target.exists():
        return target
    if not hasattr(tarfile, "data_filter"):
        raise InputError(
            f"Python {platform.python_version()} cannot unpack an archive from a stranger safely; use 3.11.4 or later, "
            f"or unpack {download.archive} into {out} yourself"
        )
    make_folder(out)
    archive = _retrieve(download, out)
    try:
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=out) as partial:
            with tarfile.open(archive) as opened:
                # Refuses absolute paths, "..", links that lead out and devices.
                opened.extractall(partial, filter="data")
            found = Path(partial) / download.folder
            if not found.is_dir():
                raise InputError(f"archive {archive} holds no folder {download.folder}; delete it and fetch it anew")
            os.replace(found, target)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(
            f"archive {archive} cannot be unpacked into {out}: {error}; make room or fetch it anew"
        ) from error
    return target


def _retrieve(download: Download, out: Path) -> Path:
    try:
        import pooch
    except ImportError as error:
        raise InputError("fetching data needs pooch; install it by pip install 'robust3d[download]'") from error
    import requests

    archive = out / download.archive
    part = out / f"{download.archive}.part"
    if archive.is_file() and not pooch.hashes.hash_matches(str(archive), download.checksum):
        raise InputError(
            f"file {archive} does not have the checksum {download.checksum} of the card; move it away and fetch it anew"
        )
    resumes = part.is_file()
    free = shutil.disk_usage(out).free // 1_000_000
    needed = 2 * download.size_mb - (part.stat().st_size // 1_000_000 if resumes else 0)
    if free < needed:
        raise InputError(f"{out} has {free} MB left and {download.archive} needs {needed} MB more, unpacked")
    # Its notes are for programmers; what went wrong is told below.
    pooch.get_logger().setLevel(logging.ERROR)
    try:
        loader = ResumingDownloader(part)
        pooch.retrieve(download.url, download.checksum, fname=download.archive, path=out, downloader=loader)
    except requests.RequestException as error:
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise InputError(
            f"cannot download {download.url}: {reason}; check the connection and call again, which goes on from what "
            f"has come, or put the archive into {out} yourself"
        ) from error
    except ValueError as error:
        if resumes:
            # The first piece may be of another release; it is gone now.
            return _retrieve(download, out)
        raise InputError(
            f"what {download.url} sent does not have the checksum {download.checksum} of the card: it was changed; "
            "nothing was kept, fetch it anew"
        ) from error
    except OSError as error:
        raise InputError(f"cannot keep {download.url} in {out}: {error}; mend that, or name another folder") from error
    finally:
        if part.is_file() and part.stat().st_size == 0:
            part.unlink()
    return archive
