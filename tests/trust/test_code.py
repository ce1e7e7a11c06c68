# SPDX-License-Identifier: Apache-2.0
"""No module of robust3d can execute data: nothing unpickles, evaluates or loads YAML; nothing opens a connection."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import robust3d

PACKAGE = Path(robust3d.__file__).parent

FORBIDDEN = {
    *("pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "jsonpickle"),
    *("urllib", "http", "ftplib", "requests", "httpx", "aiohttp", "smtplib", "xmlrpc", "telnetlib", "pooch"),
}
CONNECTIONS = ("socket.socket", "socket.create_connection", "socket.create_server")
CALLS = {"eval", "exec", "compile", "__import__"}


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def offences(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    used = {name_of(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    # torch.load(weights_only=True) tells by this error that it refused to unpickle.
    only_error = {name for name in used if name.startswith("pickle.")} == {"pickle.UnpicklingError"}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == "torch" and any(one.name == "load" for one in node.names):
                yield "from torch import load"
        names = [name for name in names if not (name == "pickle" and only_error and isinstance(node, ast.Import))]
        yield from (f"import {name}" for name in names if name.partition(".")[0] in FORBIDDEN)
        if not isinstance(node, ast.Call):
            continue
        called, given = name_of(node.func), {one.arg: one.value for one in node.keywords}
        if called in CALLS:
            yield called
        if called == "torch.load" and not is_true(given.get("weights_only", ast.Constant(False))):
            yield "torch.load without weights_only=True"
        if called in ("np.load", "numpy.load") and is_true(given.get("allow_pickle", ast.Constant(False))):
            yield "np.load with allow_pickle=True"
        if "shell" in given and not (isinstance(given["shell"], ast.Constant) and given["shell"].value is False):
            yield "shell=True"
        if called in ("torch.hub.load", "pd.read_pickle", "os.system", "os.popen", *CONNECTIONS):
            yield called


def test_no_module_can_execute_data() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 200
    found = {str(path): list(offences(path.read_text(encoding="utf-8"))) for path in modules}
    assert {path: sorted(each) for path, each in found.items() if each} == {
        str(PACKAGE / "data/download.py"): ["import pooch", "import requests"],
        str(PACKAGE / "data/resuming.py"): ["import requests"],
    }


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, marshal",
        "from shelve import open",
        "import yaml.loader",
        "from urllib.request import urlopen",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "from torch import load",
        "socket.create_connection(address)",
        "eval(text)",
        "exec(text)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(line, shell=True)",
    ],
)
def test_what_is_looked_for_is_found(source) -> None:
    assert len(list(offences(source))) == 1


@pytest.mark.parametrize(
    "source", ["torch.load(path, weights_only=True)", "network.eval()", "np.load(path)", "import torch"]
)
def test_what_is_harmless_is_not_found(source) -> None:
    assert not list(offences(source))
