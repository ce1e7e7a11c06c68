# SPDX-License-Identifier: Apache-2.0
"""Downloads against a local server: whole or not at all, checked, and without a network once they are there."""

import hashlib
import io
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from robust3d.cli.app import main
from robust3d.data.download import Download, fetch
from robust3d.data.folder import FolderDataset
from robust3d.foundation.cards import check_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from tests.data.layouts import NAMES, decathlon

pytestmark = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="Python before 3.11.4 cannot unpack archives safely"
)


CARD = {"checksum": "md5:" + 32 * "0", "folder": "Task", "licence": "CC BY-SA 4.0", "size_mb": 1}


def archive(folder, *, member: str = "", link: str = "") -> bytes:
    """A tar of a Decathlon folder, with one more member if asked for."""
    decathlon(folder / "Task")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        opened.add(folder / "Task", arcname="Task")
        if member:
            extra = tarfile.TarInfo(member)
            extra.type, extra.linkname = (tarfile.SYMTYPE, link) if link else (tarfile.REGTYPE, "")
            opened.addfile(extra)
    return buffer.getvalue()


@pytest.fixture
def server():
    """A server of one file whose answers are counted.

    ``cut`` breaks the answers off in the middle, ``moved`` redirects; with ``ranges`` it sends what is asked for.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests += 1
            if served.moved:
                self.send_response(302)
                self.send_header("Location", "/elsewhere.tar")
                self.end_headers()
                served.moved = self.path == "/elsewhere.tar"
                return
            body, asked = served.content, self.headers.get("Range")
            if asked and served.ranges:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(body):
                    served.starts.append(None)
                    self.send_response(416)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                served.starts.append(start)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start + served.slip}-{len(body) - 1}/{len(body)}")
                body = body[start:]
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if served.cut else body)

        def log_message(self, *_: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.content, served.cut, served.moved, served.requests = b"", False, False, 0
    served.ranges, served.slip, served.starts = True, 0, []
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def of(server, content: bytes, *, kind: str = "sha256") -> Download:
    """A card's section for what the server holds; only a test may leave out TLS."""
    server.content = content
    url = f"http://127.0.0.1:{server.server_port}/Task.tar"
    given = CARD | {"url": url, "checksum": f"{kind}:{hashlib.new(kind, content).hexdigest()}"}
    return Download.model_construct(**given)


def held(folder) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_an_archive_becomes_a_folder_and_needs_no_network_again(server, tmp_path, kind) -> None:
    download, out = of(server, archive(tmp_path), kind=kind), tmp_path / "out"
    folder = fetch(download, out)
    assert FolderDataset.open(folder).names == sorted(NAMES)
    assert held(out) == ["Task", "Task.tar"]
    # From the archive, then from the folder alone.
    folder.rename(tmp_path / "moved")
    assert fetch(download, out) == folder
    (out / "Task.tar").unlink()
    assert fetch(download, out) == folder
    assert server.requests == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_goes_on_where_the_server_can(server, tmp_path, ranges) -> None:
    download, out = of(server, archive(tmp_path)), tmp_path / "out"
    server.cut, server.ranges = True, ranges
    with pytest.raises(InputError, match=r"cannot download .* call again, which goes on"):
        fetch(download, out)
    half = len(server.content) // 2
    assert held(out) == ["Task.tar.part"]
    assert (out / "Task.tar.part").read_bytes() == server.content[:half]
    server.cut = False
    assert fetch(download, out).is_dir()
    assert (out / "Task.tar").read_bytes() == server.content
    assert held(out) == ["Task", "Task.tar"]
    assert server.starts == ([half] if ranges else [])


def test_a_download_that_was_whole_is_not_sent_again(server, tmp_path) -> None:
    download, out = of(server, archive(tmp_path)), tmp_path / "out"
    out.mkdir()
    (out / "Task.tar.part").write_bytes(server.content)
    assert fetch(download, out).is_dir()
    # None: asked from the end on, nothing sent.
    assert server.starts == [None]
    assert held(out) == ["Task", "Task.tar"]


def test_a_first_piece_of_another_file_is_left_behind(server, tmp_path) -> None:
    download, out = of(server, archive(tmp_path)), tmp_path / "out"
    out.mkdir()
    (out / "Task.tar.part").write_bytes(b"of an earlier release")
    assert fetch(download, out).is_dir()
    assert held(out) == ["Task", "Task.tar"]
    assert server.requests == 2


def test_other_bytes_than_those_asked_for_are_refused(server, tmp_path) -> None:
    download, out = of(server, archive(tmp_path)), tmp_path / "out"
    out.mkdir()
    (out / "Task.tar.part").write_bytes(b"nine byte")
    server.slip = 1
    with pytest.raises(InputError, match="asked for the bytes from 9 on, the server sent others"):
        fetch(download, out)
    assert (out / "Task.tar.part").read_bytes() == b"nine byte"


def test_two_downloads_into_one_file_are_refused(server, tmp_path) -> None:
    fcntl = pytest.importorskip("fcntl")
    download, out = of(server, archive(tmp_path)), tmp_path / "out"
    out.mkdir()
    with (out / "Task.tar.part").open("ab") as other:
        other.write(b"half")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"another process is loading .*Task\.tar\.part"):
            fetch(download, out)
    assert server.requests == 0


def test_another_checksum_is_refused_and_nothing_kept(server, tmp_path) -> None:
    download, out = of(server, archive(tmp_path)), tmp_path / "out"
    server.content = server.content[:-1] + b"x"
    with pytest.raises(InputError, match=r"does not have the checksum sha256:") as caught:
        fetch(download, out)
    assert "\n" not in str(caught.value)
    assert held(out) == []
    (out / "Task.tar").write_bytes(b"another file")
    with pytest.raises(InputError, match=r"Task\.tar does not have the checksum .* move it away"):
        fetch(download, out)
    assert (out / "Task.tar").read_bytes() == b"another file"


def test_a_redirection_is_not_followed(server, tmp_path) -> None:
    download = of(server, archive(tmp_path))
    server.moved = True
    with pytest.raises(InputError, match="the answer is 302 Found, not the file"):
        fetch(download, tmp_path / "out")
    assert server.requests == 1


@pytest.mark.parametrize(
    ("member", "link", "message"),
    [
        ("../out.txt", "", "cannot be unpacked"),
        ("/out.txt", "", None),
        ("Task/up", "../../secret", "cannot be unpacked"),
        ("Task/root", "/etc", "cannot be unpacked"),
    ],
)
def test_an_archive_writes_nothing_outside_its_folder(server, tmp_path, member, link, message) -> None:
    download, out = of(server, archive(tmp_path, member=member, link=link)), tmp_path / "out"
    if message is None:
        # An absolute name is taken as a relative one, and what lies beside the folder is left out.
        fetch(download, out)
        assert held(out) == ["Task", "Task.tar"]
        return
    with pytest.raises(InputError, match=message):
        fetch(download, out)
    assert held(out) == ["Task.tar"]


def test_an_archive_without_the_folder_is_refused(server, tmp_path) -> None:
    other = of(server, archive(tmp_path)).model_copy(update={"folder": "Other"})
    with pytest.raises(InputError, match="holds no folder Other"):
        fetch(other, tmp_path / "out")


def test_a_server_that_is_not_there_is_one_sentence_and_code_2(tmp_path, monkeypatch, capsys) -> None:
    text = (Collections.open().find("benchmarks", "hippocampus")).read_text(encoding="utf-8")
    card = tmp_path / "hippocampus.toml"
    # Port 9 of this machine: nothing listens there.
    card.write_text(text.replace("msd-for-monai.s3-us-west-2.amazonaws.com", "127.0.0.1:9"))
    monkeypatch.setattr(sys, "argv", ["robust3d", "data", "fetch", str(card), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "cannot download https://127.0.0.1:9/Task04_Hippocampus.tar" in error
    assert (error.count("\n"), "Traceback" in error) == (1, False)


def test_a_card_without_a_download_says_so(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["robust3d", "data", "fetch", "nih-pancreas", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "benchmark nih-pancreas names no public download" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("url", "http://example.org/Task.tar"),
        ("url", "https://example.org/Task.zip"),
        ("url", "file:///etc/passwd.tar"),
        ("checksum", ""),
        ("checksum", "sha1:" + 40 * "0"),
        ("folder", "../Task"),
        ("folder", ".."),
    ],
)
def test_only_named_archives_over_tls_with_a_checksum(key, value) -> None:
    good = CARD | {"url": "https://example.org/Task.tar"}
    assert check_card(good, Download, where="card").archive == "Task.tar"
    with pytest.raises(InputError, match=key):
        check_card(good | {key: value}, Download, where="card")


def test_a_python_that_cannot_unpack_safely_is_told_of(tmp_path, monkeypatch) -> None:
    monkeypatch.delattr(tarfile, "data_filter")
    download = Download(
        url="https://example.org/Task.tar", checksum="md5:" + "0" * 32, folder="Task", licence="CC0", size_mb=1
    )
    with pytest.raises(InputError, match=r"use 3\.11\.4 or later, or unpack Task\.tar into"):
        fetch(download, tmp_path)
