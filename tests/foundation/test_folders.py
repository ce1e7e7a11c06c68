# SPDX-License-Identifier: Apache-2.0
"""Folders that appear whole or not at all."""

from pathlib import Path

import pytest

from robust3d.foundation.errors import InputError
from robust3d.foundation.folders import replacing_folder


def fill(path: Path, text: str) -> None:
    with replacing_folder(path, "kind") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a").write_text(text)


def test_a_folder_of_the_same_kind_is_replaced_whole(tmp_path) -> None:
    path = tmp_path / "deep" / "out"
    fill(path, "1")
    with replacing_folder(path, "kind") as folder:
        (folder / "b").write_text("2")
        assert (path / "inner" / "a").read_text() == "1"
    assert sorted(one.name for one in path.rglob("*")) == ["b", "files.json"]
    assert [one.name for one in path.parent.iterdir()] == ["out"]


def test_a_failure_leaves_the_earlier_one(tmp_path) -> None:
    fill(tmp_path / "out", "1")

    def fail() -> None:
        with replacing_folder(tmp_path / "out", "kind") as folder:
            (folder / "b").write_text("2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "out" / "inner" / "a").read_text() == "1"
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("stray", ["notes.txt", "inner/notes.txt"])
def test_anything_else_is_kept(tmp_path, stray) -> None:
    fill(tmp_path / "out", "1")
    (tmp_path / "out" / stray).write_text("mine")
    with pytest.raises(InputError, match=f"holds {stray}"):
        fill(tmp_path / "out", "2")
    assert (tmp_path / "out" / stray).read_text() == "mine"
    assert (tmp_path / "out" / "inner" / "a").read_text() == "1"


def test_other_kinds_files_and_links_are_refused(tmp_path) -> None:
    fill(tmp_path / "out", "1")
    with (
        pytest.raises(InputError, match="no part of a robust3d page"),
        replacing_folder(tmp_path / "out", "robust3d page"),
    ):
        pass
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for name in ("file", "link"):
        with pytest.raises(InputError, match="is not a folder"):
            fill(tmp_path / name, "2")


def test_what_appears_meanwhile_is_kept(tmp_path) -> None:
    def be_late() -> None:
        with replacing_folder(tmp_path / "out", "kind"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "late").write_text("mine")

    with pytest.raises(InputError, match="holds late"):
        be_late()
    assert (tmp_path / "out" / "late").read_text() == "mine"
