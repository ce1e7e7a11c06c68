# SPDX-License-Identifier: Apache-2.0
"""Wheel and source archive, built, installed in an environment of their own and used without a network."""

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

NO_NETWORK = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind") and not isinstance(arguments[-1], (str, bytes)):
        raise OSError(f"no network: {event} {arguments}")

sys.addaudithook(refuse)
"""
"""Sockets that are named by a path are no network."""

CARD = """
benchmark = { name = "own", title = "Own", models = ["resdsn-c2f-natural/coarse"], attacks = ["fgsm"] }
data = { source = "phantom", cases = 2, shape = [40, 36, 32], spacing = [6.0, 6.0, 8.0] }
threat = { epsilon = 10.2, unit = "HU", valid = [-100.0, 240.0] }
reference = { paper = "none" }
"""


def call(*words: object, **options) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def without_devices() -> list[str]:
    """Return what starts a program without any network device, where the system permits that."""
    words = ["unshare", "-rn"]
    permitted = shutil.which("unshare") and not subprocess.run([*words, "true"], capture_output=True).returncode
    return words if permitted else []


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> tuple[Path, Path]:
    """Wheel, built from the source archive, and that."""
    out = tmp_path_factory.mktemp("dist")
    call(shutil.which("python"), "-m", "build", "--outdir", out, ROOT)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


def test_archives_hold_what_belongs_to_them(archives) -> None:
    wheel, source = archives
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "robust3d/py.typed" in names
    for folder in ("attacks", "defenses", "benchmarks", "zoo"):
        cards = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert {f"robust3d/_collections/{card}" for card in cards} <= names
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "robust3d").rglob("*.py")}
    assert code <= names
    assert not [name for name in names if name.startswith(("tests", "docs")) or "__pycache__" in name]
    licences = {Path(name).name for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "LICENSE-niivue.txt"}
    with tarfile.open(source) as content:
        inner = {name.partition("/")[2] for name in content.getnames()}
    others = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "docs/security.md", "tests/conftest.py"}
    assert code | others <= inner
    assert not [name for name in inner if name.startswith((".git/", "runs/", "shared/"))]


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_an_installed_wheel_works_without_a_network(archives, tmp_path, version) -> None:
    python = shutil.which(f"python{version}", path=os.environ.get("ROBUST3D_PYTHONS", os.environ["PATH"]))
    # The shim of a version manager may be there without the version.
    if python is None or subprocess.run([python, "--version"], capture_output=True).returncode:
        pytest.skip(f"there is no Python {version}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    call(python, "-m", "venv", tmp_path / "venv", env=environment)
    programs = tmp_path / "venv/bin"
    pip = [programs / "python", "-m", "pip", "--disable-pip-version-check"]
    # Most of what would be compiled is never imported here.
    quick = ["--quiet", "--no-compile", "--constraint", ROOT / ".ci/constraints.txt"]
    call(*pip, "install", *quick, archives[0], env=environment)
    assert "No broken requirements" in call(*pip, "check", env=environment)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(NO_NETWORK)
    away = tmp_path / "away"
    (away / "benchmarks").mkdir(parents=True)
    (away / "benchmarks/own.toml").write_text(CARD)
    apart = without_devices()
    environment |= {"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}

    def robust3d(*words: object) -> str:
        return call(*apart, programs / "robust3d", *words, cwd=away, env=environment)

    tell = "import robust3d; print(robust3d.__file__)"
    where = call(*apart, programs / "python", "-c", tell, cwd=away, env=environment)
    assert where.startswith(str(tmp_path / "venv"))
    denied = [*apart, programs / "python", "-c", "import socket; socket.create_connection(('127.0.0.1', 9), 1)"]
    assert "no network" in subprocess.run([*map(str, denied)], env=environment, capture_output=True, text=True).stderr
    assert archives[0].name.split("-")[1] == robust3d("--version").strip()
    assert "resdsn-c2f-natural" in robust3d("models")
    robust3d("data", "phantom", "--out", "data", "--cases", 1, "--shape", 40, 36, 32, "--spacing", 6, 6, 8)
    image, label = (next((away / "data" / folder).iterdir()) for folder in ("imagesTr", "labelsTr"))
    robust3d("attack", "--model", "resdsn-c2f-natural/coarse", "--image", image, "--label", label, "--attack", "fgsm",
             "--epsilon", 10.2, "--out", "attacked")  # fmt: skip
    assert (away / "attacked/adversarial.nii.gz").exists()
    assert "fgsm" in robust3d("run", "own", "--out", "run", "--workers", 2)
    shutil.copytree(away / "run", away / "baseline")
    robust3d("check", "--baseline", "baseline", "--results", "run")
    assert "verified" in robust3d("verify", "run", "--cells", 1)
    robust3d("report", "run")
    assert (away / "run/report/index.html").exists()
