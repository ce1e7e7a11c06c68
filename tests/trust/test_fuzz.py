# SPDX-License-Identifier: Apache-2.0
"""Mutated files of every format that is read: each is read or refused in one sentence, and nothing else happens.

About 500 cases in the fast suite and 10,000 in the slow one.
"""

import gzip
import json
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robust3d.benchmarks.card import BenchmarkCard
from robust3d.benchmarks.results import read_results
from robust3d.benchmarks.store import Store
from robust3d.benchmarks.verify.records import read_files, read_lines
from robust3d.data.layouts.registry import find_layout
from robust3d.data.layouts.survey import header_problems, refuse, scan
from robust3d.data.splits import read_split
from robust3d.defenses.checkpoint import Progress, load_checkpoint, save_checkpoint
from robust3d.defenses.recipe import Recipe
from robust3d.foundation.cards import read_card
from robust3d.foundation.errors import InputError
from robust3d.foundation.text import printable
from robust3d.networks.weights import load_weights, save_weights
from robust3d.volume.nifti import read_grid, read_volume
from robust3d.zoo.card import ModelCard

ROOT = Path(__file__).parents[2]
KEY = "a" * 64

Read = Callable[[Path], object]


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), torch.nn.BatchNorm3d(2))


def checkpoint(path: Path) -> object:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return load_checkpoint(path, model, optimizer, Progress("r", "i"))


def written_checkpoint(path: Path) -> bytes:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 1, 2, 2, 2)).sum().backward()
    optimizer.step()
    save_checkpoint(path, model, optimizer, dict(model.state_dict()), Progress("r", "i", 3))
    return path.read_bytes()


def volume(path: Path) -> None:
    read_grid(path)
    read_volume(path, path)


def cells(path: Path) -> None:
    read_lines(path)
    read_results(path)


def stored(path: Path) -> None:
    read_files(path.parent)
    Store(path.parent.parent).get(KEY)


def folder(path: Path) -> None:
    layout = find_layout(path.parent)
    listing = scan(layout, path.parent)
    refuse(path.parent, [*listing.problems, *header_problems(layout, listing.entries)])


def card(kind: type) -> Read:
    return lambda path: read_card(path, kind)


def nifti(kind: type) -> bytes:
    return kind(np.arange(120, dtype=np.int16).reshape(4, 5, 6) % 9, np.diag([3.0, 3, 4, 1])).to_bytes()


def line() -> str:
    return next((ROOT / "benchmarks/baselines/phantom-pancreas/results.jsonl").open(encoding="utf-8"))


def example(name: str, place: Path) -> tuple[str, bytes, Read]:
    """Return file name, sound content and reader of a format."""
    pair = {"image": "./a.nii", "label": "a.nii"}
    listed = {"modality": {"0": "CT"}, "channel_names": {"0": "CT"}, "file_ending": ".nii", "labels": {"a": 0, "b": 1}}
    texts: dict[str, tuple[str, str | bytes, Read]] = {
        "nifti1": ("a.nii", nifti(nib.Nifti1Image), volume),
        "nifti2": ("a.nii", nifti(nib.Nifti2Image), volume),
        "gzip": ("a.nii.gz", gzip.compress(nifti(nib.Nifti1Image), mtime=0), volume),
        "model card": ("card.toml", (ROOT / "zoo/resdsn-c2f-natural/card.toml").read_bytes(), card(ModelCard)),
        "recipe": ("card.toml", (ROOT / "defenses/madry.toml").read_bytes(), card(Recipe)),
        "benchmark": ("card.toml", (ROOT / "benchmarks/hippocampus.toml").read_bytes(), card(BenchmarkCard)),
        "split": ("split.json", (ROOT / "benchmarks/splits/hippocampus.json").read_bytes()[:400] + b'"]}', read_split),
        "lines": ("results.jsonl", line() * 2, cells),
        "cell": (f"cells/{KEY}.json", json.dumps(json.loads(line()) | {"cell": KEY}), stored),
        "datalist": ("list.json", json.dumps({"training": [pair, pair | {"case": "b"}]}), folder),
        "decathlon": ("dataset.json", json.dumps(listed | {"training": [pair]}), folder),
        "nnunet": ("dataset.json", json.dumps(listed), folder),
        "csv": ("cases.csv", "case,image,label\none,a.nii,b.nii\n", folder),
    }
    if name == "weights":
        save_weights(network(), place / "w.safetensors")
        return "w.safetensors", (place / "w.safetensors").read_bytes(), lambda path: load_weights(network(), path)
    if name == "checkpoint":
        return "c.safetensors", written_checkpoint(place / "c.safetensors"), checkpoint
    file, content, read = texts[name]
    return file, content if isinstance(content, bytes) else content.encode(), read


FORMATS = (
    "nifti1", "nifti2", "gzip", "model card", "recipe", "benchmark", "split", "lines", "cell", "datalist", "decathlon",
    "nnunet", "csv", "weights", "checkpoint",
)  # fmt: skip

EDGES = [
    *(struct.pack("<h", value) for value in (0, 1, -1, 32767, -32768, 16, 64, 128, 512, 1792)),
    *(struct.pack("<f", value) for value in (0.0, -1.0, 1e30, float("nan"), float("inf"), 1e-45)),
    *(struct.pack("<q", value) for value in (0, -1, 2**62, 2**31, 10**11)),
    *(b"[", b"{", b"[" * 3000, b'"', b"\n", b"\x1b[31m", b"null", b"true", b"-1", b"1e999", b"NaN", b"../", b"/etc"),
    *(b"9" * 5000, b"\\u0000", b"\\ud800", b"0x1", b"1979-05-27", b"\xff", b"[]", b"{}", b"**", b"\\u001b"),
]


def mutations(size: int) -> st.SearchStrategy[list[tuple[int, str, bytes]]]:
    # Headers come first, so half of the places are in the first 400 bytes.
    place = st.one_of(st.integers(0, min(size, 400) - 1), st.integers(0, size - 1))
    what = st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(EDGES))
    return st.lists(st.tuples(place, st.sampled_from(["set", "insert", "remove", "cut"]), what), min_size=1, max_size=4)


def mutate(content: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    for place, kind, what in changes:
        if kind == "set":
            content = content[:place] + what + content[place + len(what) :]
        elif kind == "insert":
            content = content[:place] + what + content[place:]
        elif kind == "remove":
            content = content[:place] + content[place + len(what) :]
        elif place > 0:
            content = content[:place] if len(what) == 1 else content
    return content


def refusal(read: Read, path: Path) -> str:
    """Return why a file is refused, nothing if it is read."""
    try:
        read(path)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("examples", [35, pytest.param(667, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FORMATS)
def test_read_or_refused_in_one_sentence(tmp_path, name, examples) -> None:
    (tmp_path / "made").mkdir()
    file, sound, read = example(name, tmp_path / "made")
    path = tmp_path / "read" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(sound)
    outcomes = []

    @settings(max_examples=examples, derandomize=True, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(mutations(len(sound)))
    def check(changes: list[tuple[int, str, bytes]]) -> None:
        path.write_bytes(mutate(sound, changes))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sentence = refusal(read, path)
        assert sentence == printable(sentence).replace("\n", " ")
        outcomes.append(sentence)

    check()
    assert len(outcomes) >= examples
    assert any(outcomes)


def test_a_checkpoint_of_a_renamed_tensor_is_refused(tmp_path) -> None:
    # Found by the mutations: torch raised a RuntimeError.
    _, sound, read = example("checkpoint", tmp_path)
    renamed = sound.replace(b'"network.1.num_batches_tracked"', b'"network. .num_batches_tracked"')
    assert renamed != sound
    (tmp_path / "c.safetensors").write_bytes(renamed)
    assert "does not fit the network of the card" in refusal(read, tmp_path / "c.safetensors")
