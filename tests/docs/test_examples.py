# SPDX-License-Identifier: Apache-2.0
"""The scripts of docs/examples run as they stand; a model from its folder gives the same by command and by Python."""

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import robust3d as r3
from robust3d.cli.app import main
from robust3d.data.phantoms import PhantomDataset
from robust3d.defenses.adversary import Step
from robust3d.defenses.batch import Batch
from robust3d.defenses.draws import Draws
from robust3d.foundation.collections import Collections
from robust3d.networks.resdsn import ResDSN
from robust3d.networks.weights import load_weights, save_weights
from tests.conftest import BENCHMARK
from tests.zoo.foreign import unet, write_bundle

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
ATTACKS = ("ifgsm-relative", "sea3d-fast")

pytestmark = pytest.mark.filterwarnings("ignore:.*judges its progress")


def run_example(name: str, **changes: str) -> dict[str, Any]:
    """Run a script, with some of its texts replaced, and return its names."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(EXAMPLES / name)}
    exec(compile(text, name, "exec"), names)
    return names


def statements(name: str) -> int:
    """Lines of a script that are neither its heading nor imports, comments or empty."""
    text = (EXAMPLES / name).read_text(encoding="utf-8").split('"""')[2]
    return len([line for line in text.splitlines() if not re.match(r"\s*(#|from |import |$)", line)])


def call(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def rows(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    lines = (out / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return {(row["case"], row["attack"]): row for row in map(json.loads, lines)}


def test_the_scripts_are_as_short_as_they_say() -> None:
    assert statements("own_model.py") <= 11
    assert statements("attack_bundle.py") == 10
    text = (EXAMPLES / "write_attack.py").read_text(encoding="utf-8")
    assert len([line for line in text[text.index("class ") :].splitlines() if line.strip()]) <= 30


def test_own_model(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_example("own_model.py")
    saved = r3.read_volume("adversarial.nii.gz")
    clean = np.clip(names["case"].image, -100, 240)
    # The phantom is stored in whole HU, rounded toward the clean value.
    assert np.abs(saved.image - clean).max() == 10
    assert "largest change: 10.20 HU" in capsys.readouterr().out


def test_add_defense(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_example("add_defense.py")
    model = r3.load_model("mixed", collections=Collections.open([tmp_path / "runs" / "mixed"]))
    assert model.settings()["network"]["width"] == 4
    assert "step 6: loss" in capsys.readouterr().out
    # Every second window is attacked and within the ball, the others are clean.
    image = torch.rand(4, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0)) * 340 - 100
    ones = torch.ones(4, 1, 1, 1, 1)
    batch = Batch(image, (image[:, 0] > 60).long(), 40 * ones, 90 * ones)
    adversary, draws = names["recipe"].adversary, Draws(torch.Generator().manual_seed(0))
    learner = names["training"].trainer("coarse").learner
    moved = adversary.attacked(Step(learner, batch, adversary.threat((-100.0, 240.0)), 1.0, draws))
    change = (moved - image).abs().amax((1, 2, 3, 4))
    assert (change[1::2] == 0).all()
    assert ((change[::2] > 5) & (change[::2] < 10.2001)).all()


@pytest.fixture
def foreground_zoo(tiny_zoo, tmp_path) -> Path:
    """The tiny zoo with a model that takes most voxels for the organ, so that its DSC can fall; one attack."""
    own = shutil.copytree(tiny_zoo, tmp_path / "own")
    folder = own / "zoo" / "tiny"
    card = (folder / "card.toml").read_text(encoding="utf-8")
    for stage in ("coarse", "fine"):
        weights = folder / f"{stage}.safetensors"
        network = ResDSN(width=2, deep_supervision=False)
        before = load_weights(network, weights)
        with torch.no_grad():
            network.head.bias[1] += 1
        card = card.replace(before, save_weights(network, weights))
    (folder / "card.toml").write_text(card)
    write_card(own / "benchmarks" / "tiny-bench.toml", attacks=("random-sign",))
    return own


def test_write_attack_and_claim_it(foreground_zoo, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    zoo, entry = foreground_zoo, Path("boards/tiny-bench/tiny.json")
    call(monkeypatch, "run", "tiny-bench", "--collection", zoo, "--out", "base", "--device", "cpu")
    call(monkeypatch, "leaderboard", "add", "base", "--collection", "boards", "--by", "us", "--cards", zoo)
    own = '"phantom-pancreas-mini", models=("resdsn-c2f-natural",), device="cpu")'
    tiny = f'"tiny-bench", models=("tiny",), device="cpu", collections=(Path({str(zoo)!r}),))'
    names = run_example("write_attack.py", **{own: tiny})
    records = rows(Path("runs/alternating"))
    assert [attack for _, attack in records] == ["clean", "alternating"]
    attacked = records["test_0000", "alternating"]
    assert attacked["linf"] == pytest.approx(10.2, abs=1e-3)
    assert attacked["gradients"] == 6
    assert names["board"]["alternating_dsc"].item() == pytest.approx(100 * attacked["dsc"], abs=0.005)
    assert attacked["dsc"] < rows(Path("base"))["test_0000", "random-sign"]["dsc"]
    proof = ("--evidence", "https://example.org/a.zip", "--evidence-sha256", 64 * "e", "--cards", zoo)
    call(monkeypatch, "leaderboard", "claim", "runs/alternating", "--entry", entry, "--by", "them", *proof)
    (claim,) = json.loads(entry.read_text(encoding="utf-8"))["external"]
    assert (claim["attack"], claim["by"]) == ("alternating", "them")


def write_card(path: Path, *, attacks: tuple[str, ...] = ATTACKS) -> Path:
    """The benchmark of the tiny zoo's phantoms with these attacks."""
    text = BENCHMARK.replace("tiny-bench", path.stem).replace(
        '"random-sign", "fgsm", "ifgsm"', json.dumps(attacks)[1:-1]
    )
    path.write_text(text.replace("cases = 2", "cases = 1"))
    return path


def test_a_bundle_by_one_command_and_by_python(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = write_bundle(tmp_path / "spleen", unet(), '"roi_size": [16, 16, 16]', '"roi_size": [32, 32, 32]')
    card = write_card(tmp_path / "own.toml")
    call(monkeypatch, "run", card, "--model", bundle, "--out", "out", "--device", "cpu")
    model = r3.load_model("spleen", device="cpu")
    case = PhantomDataset("test", 1, shape=(40, 36, 32), spacing=(6, 6, 8)).load("test_0000")
    threat = r3.ThreatModel(norm="linf", epsilon=10.2, unit="HU", valid=(-100, 240))
    for name in ATTACKS:
        adversarial = r3.load_attack(name)(model, case, threat, seed=0)
        row = rows(Path("out"))["test_0000", name]
        assert row["dsc"] == r3.dsc(model.predict(adversarial.volume.image).mask, case.label)
        assert row["trace"] == pytest.approx(adversarial.trace, abs=0)
        assert (row["distance"], row["gradients"]) == (adversarial.distance, adversarial.gradients)


def test_the_bundle_of_the_docs_is_whole() -> None:
    folder = EXAMPLES / "hippocampus-unet"
    digest, name = (folder / "models" / "SHA256SUMS").read_text().split()
    weights = (folder / "models" / name).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == digest
    assert len(weights) < 2_000_000
    assert r3.load_model(str(folder), device="cpu").classes == 3


@pytest.mark.slow
@pytest.mark.skipif("ROBUST3D_DATA" not in os.environ, reason="ROBUST3D_DATA is not set")
def test_real_mr_by_one_command_and_by_ten_lines(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    card = (EXAMPLES / "hippocampus-bundle.toml").read_text(encoding="utf-8")
    (tmp_path / "hippocampus-bundle.toml").write_text(
        card.replace("docs/examples/hippocampus-unet", str(EXAMPLES / "hippocampus-unet")).replace(
            "cases = 4", "cases = 1"
        )
    )
    data = Path(os.environ["ROBUST3D_DATA"]) / "Task04_Hippocampus"
    call(monkeypatch, "run", "hippocampus-bundle.toml", "--data", data, "--device", "cpu", "--out", "out")
    names = run_example("attack_bundle.py", **{"docs/examples": str(EXAMPLES)})
    records = rows(Path("out"))
    assert {attack: row["dsc"] for (_, attack), row in records.items()} == names["found"]
    # Trained, and not robust: each attack costs more than ten points.
    assert names["found"]["clean"] > 0.8
    for name in ATTACKS:
        assert names["found"][name] < names["found"]["clean"] - 0.1
        moved = r3.read_volume(f"hippocampus_093_{name}.nii.gz").image - names["case"].image
        assert np.abs(moved).max() == pytest.approx(3, abs=1e-4)
        assert records["hippocampus_093", name]["linf"] == pytest.approx(3, abs=1e-4)
