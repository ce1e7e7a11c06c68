# SPDX-License-Identifier: Apache-2.0
"""What must hold in an output folder whatever happened: files under a final name are whole, and cells stay."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from safetensors.numpy import load_file

COST = ("seconds", "peak_memory_mb")


def files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder under their final names; a name with a dot is that of a file being written."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if not any(part.startswith(".") for part in parts) and parts[0] not in ("claims", "losses") and path.is_file():
            yield path


def refuse_halves(folder: Path) -> None:
    """Read every file of a folder to its end."""
    for path in files(folder):
        content = path.read_bytes()
        assert content, path
        match "".join(path.suffixes[-2:]) or path.suffix:
            case ".safetensors" | ".checkpoint.safetensors":
                assert load_file(path)
            case ".toml":
                assert tomllib.loads(content.decode())
            case ".json":
                assert json.loads(content)
            case ".jsonl":
                assert [json.loads(line) for line in content.decode().splitlines()]
            case ".nii.gz":
                assert np.asanyarray(nib.load(path).dataobj).size
            case ".png":
                assert content.startswith(b"\x89PNG")
                assert content.endswith(b"IEND\xaeB`\x82")
            case ".csv" | ".md" | ".html" | ".tex":
                assert content.endswith(b"\n")


def cells(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and time of every finished cell."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("cells/[!.]*.json")}


def result(folder: Path) -> dict[str, object]:
    """Return all files of a folder: bytes, and records without what they cost. Plans differ by their shards alone."""
    found: dict[str, object] = {}
    for path in files(folder):
        name = path.relative_to(folder).as_posix()
        if name == "results.jsonl":
            found[name] = [_without_cost(line) for line in path.read_text().splitlines()]
        elif name == "result.json" or name.startswith("cells/"):
            found[name] = _without_cost(path.read_text())
        elif path.parent.name != "plans":
            found[name] = path.read_bytes()
    return found


def _without_cost(text: str) -> dict[str, object]:
    return {name: value for name, value in json.loads(text).items() if name not in COST}
