# SPDX-License-Identifier: Apache-2.0
import errno
import os
import time

import numpy as np
import pytest
import torch

from robust3d.foundation.collections import Collections
from robust3d.foundation.digest import digest_arrays, digest_json, digest_tensors, mix_seed
from robust3d.foundation.errors import InputError, nearest
from robust3d.foundation.files import make_folder, replacing, write_text


def test_a_file_appears_whole_or_not_at_all(tmp_path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~0o022


def test_a_file_that_cannot_be_written_is_a_sentence_and_the_old_one_stays(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            full()

    with pytest.raises(InputError, match=r"cannot write .*a\.txt: No space left on device"):
        write_half()
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"cannot write .*a\.txt: No space left on device"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]
    with pytest.raises(InputError, match=r"cannot write .*b\.txt: No such file or directory"):
        write_text(tmp_path / "missing" / "b.txt", "new")


def test_what_a_killed_writer_left_is_removed_by_the_next_one_an_hour_later(tmp_path) -> None:
    path = tmp_path / "case.nii.gz"
    lost = {}
    for name, target in (("stale", path), ("fresh", path), ("other", tmp_path / "other.nii.gz")):
        # A generator that is never closed, like a writer that was killed.
        writer = replacing(target)
        lost[name] = (writer, writer.__enter__())
        assert lost[name][1].name.endswith(".nii.gz")
    old = time.time() - 2 * 3600
    for name in ("stale", "other"):
        os.utime(lost[name][1], (old, old))
    write_text(path, "new")
    assert not lost["stale"][1].exists()
    assert lost["fresh"][1].exists()
    assert lost["other"][1].exists()
    assert path.read_text() == "new"


def test_a_writer_on_a_machine_whose_clock_is_off_keeps_its_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.txt"
    writer = replacing(path)
    temporary = writer.__enter__()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * 3600)
    write_text(path, "theirs")
    temporary.write_text("ours")
    writer.__exit__(None, None, None)
    assert path.read_text() == "ours"


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path) -> None:
    path = tmp_path / ("a" * 250 + ".json")
    write_text(path, "{}")
    assert path.read_text() == "{}"


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write to the output folder"):
        make_folder(tmp_path / "file" / "out")


def test_digests_tell_content_apart() -> None:
    assert digest_json({"a": 1, "b": [2]}) == digest_json({"b": [2], "a": 1})
    assert digest_json({"a": 1}) != digest_json({"a": 1.5})
    zeros = np.zeros((2, 3), np.int16)
    others = [zeros.T, zeros.astype(np.int32), zeros + 1]
    assert len({digest_arrays(one) for one in (zeros, *others)}) == 4
    assert digest_arrays(zeros) == digest_arrays(zeros.astype(">i2"))
    state = {"a": torch.zeros(2), "b": torch.ones(1)}
    assert digest_tensors(state) == digest_tensors(dict(reversed(state.items())))
    assert digest_tensors(state) != digest_tensors({"a": torch.zeros(2), "b": torch.zeros(1)})
    assert len({mix_seed(1, 2), mix_seed(12), mix_seed(2, 1), mix_seed("1", 2)}) == 4


def test_nearest_names() -> None:
    assert nearest("ifgms", ["fgsm", "ifgsm", "pgd"]) == "did you mean 'ifgsm'?"
    assert nearest("zzz", ["fgsm", "pgd"]) == "known: fgsm, pgd"
    assert nearest("zzz", map(str, range(60))).endswith(", 53 and 10 more")


def test_named_folders_come_before_the_current_one_before_the_built_in(tmp_path, monkeypatch) -> None:
    for place in ("named", "here"):
        (tmp_path / place / "attacks").mkdir(parents=True)
        (tmp_path / place / "attacks" / "fgsm.toml").touch()
    (tmp_path / "here" / "attacks" / "mine.toml").touch()
    monkeypatch.chdir(tmp_path / "here")
    collections = Collections.open([tmp_path / "named"])
    assert collections.find("attacks", "fgsm") == tmp_path / "named" / "attacks" / "fgsm.toml"
    assert collections.find("attacks", "mine") == tmp_path / "here" / "attacks" / "mine.toml"
    assert collections.find("attacks", "ifgsm").is_file()
    with pytest.raises(InputError, match=r"unknown attack 'ifsgm'; did you mean 'ifgsm'\?"):
        collections.find("attacks", "ifsgm")
    with pytest.raises(InputError, match="holds none of the folders"):
        Collections.open([tmp_path])
