# SPDX-License-Identifier: Apache-2.0
"""torch.export files (.pt2): a graph of operators and its weights.

``torch.export.load`` unpickles parts of a file and evaluates texts in it as expressions. Here every such part is
checked first, and what is loaded is a copy in memory that holds nothing else.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from robust3d.foundation.digest import digest_file
from robust3d.foundation.errors import InputError
from robust3d.zoo.formats.deployed import Deployed, Source

_MODEL = "models/model.json"
_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_INPUTS = "data/sample_inputs/model.pt"
_PARTS = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|archive_format|archive_version|byteorder|\.data/\w+"
)

_OPERATOR = re.compile(r"(torch\.ops\.(aten|prims|higher_order)\.\w+(\.\w+)?|_operator\.\w+|torch\.sym_\w+)")
_SYMBOL = r"Symbol\('[su]\d+'(, (positive|nonnegative|integer)=True)*\)"
_EXPRESSION = re.compile(rf"({_SYMBOL}|[su]\d+|Add|Mul|Integer|Max|Min|FloorDiv|Mod|True|False|\d+|[\s+\-*/(),<>=&|])*")


class Exported(nn.Module):
    """The module of an exported program, which refuses ``eval()`` although it knows no other mode.

    Parameters
    ----------
    graph : nn.Module
        What ``ExportedProgram.module()`` returns.
    """

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph
        self.train(False)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the program's output."""
        output: Tensor = self.graph(windows)
        return output

    def train(self, mode: bool = True) -> Self:
        """Note the mode, and leave the graph alone."""
        for module in self.modules():
            module.training = mode
        return self


def read_exported(source: Source) -> Deployed:
    """Load the program; the identity of the model is the hash of the whole file.

    Raises
    ------
    InputError
        If a part of the file would have to be unpickled or evaluated.
    """
    deployment = source.deployment()
    source.check_program()
    try:
        program = torch.export.load(_checked_copy(source.path))
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"model file {source.path} cannot be read by torch {torch.__version__}: {error}; export it anew"
        ) from error
    return Deployed(
        Exported(program.module()),
        deployment,
        {"format": "torch-export"},
        weights_sha256=digest_file(source.path),
    )


def _checked_copy(path: Path) -> io.BytesIO:
    try:
        with zipfile.ZipFile(path) as archive:
            # Below one folder, that of the file's name.
            parts = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(
            f"model file {path} is no torch.export file ({error}); write it with torch.export.save"
        ) from error
    missing = next((name for name in (_MODEL, _WEIGHTS, _CONSTANTS, _INPUTS) if name not in parts), None)
    if missing:
        raise InputError(f"model file {path} has no {missing}; write it with torch.export.save of torch 2.8 or later")
    problem = next(_problems(parts), None)
    if problem:
        raise InputError(f"model file {path} {problem}, which may run any code; give its state dict instead")
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w") as archive:
        for name, content in parts.items():
            archive.writestr(f"archive/{name}", content)
    copy.seek(0)
    return copy


def _problems(parts: dict[str, bytes]) -> Iterator[str]:
    for name in parts:
        if name not in (_MODEL, _WEIGHTS, _CONSTANTS, _INPUTS) and not _PARTS.fullmatch(name):
            yield f"holds {name}"
    for name in (_WEIGHTS, _CONSTANTS):
        for entry in json.loads(parts[name])["config"].values():
            if entry["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
                yield f"holds a pickled part ({entry['path_name']})"
    try:
        torch.load(io.BytesIO(parts[_INPUTS]), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        yield "holds example inputs that are no plain tensors"
    for key, value in _texts(json.loads(parts[_MODEL])):
        if key == "target" and not _OPERATOR.fullmatch(value):
            yield f"calls {value!r}, which is no operator of torch"
        if key == "expr_str" and not _EXPRESSION.fullmatch(value):
            yield f"holds the expression {value!r}"


def _texts(content: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a JSON tree with the nearest key above it."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _texts(value, name)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value, key)
    elif isinstance(content, str):
        yield key, content
