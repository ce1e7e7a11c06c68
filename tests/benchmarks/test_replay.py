# SPDX-License-Identifier: Apache-2.0
"""Cells computed anew: the same volumes as the attack itself, and a refusal of anything that is not of the run."""

import json
import sys

import numpy as np
import pytest

from robust3d.attacks.cards import load_attack
from robust3d.benchmarks.replay import Replay
from robust3d.benchmarks.results import read_results
from robust3d.cli.app import main
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.zoo.load import load_model


@pytest.fixture(scope="module")
def finished(tiny_zoo, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        extra = ["--attack", "fgsm", "--attack", "fgsm@tiny", "--precision", "fast"]
        patch.setattr(sys, "argv", ["robust3d", "run", "tiny-bench", "--out", str(out), *extra,
                                    "--collection", str(tiny_zoo)])  # fmt: skip
        with pytest.raises(SystemExit):
            main()
    return out


def replay(tiny_zoo, folder) -> Replay:
    collections = Collections.open([tiny_zoo])
    return Replay(
        read_results(folder),
        collections,
        lambda name, precision: load_model(name, precision=precision, collections=collections),
    )


def test_the_same_volumes_and_figures(tiny_zoo, finished) -> None:
    made = replay(tiny_zoo, finished)
    made.check(["test_0001"])
    reported: list[object] = []
    case = made.case("test_0001", reported.append)
    assert reported == [("tiny", attack, "test_0001") for attack in ("clean", "fgsm", "fgsm@tiny")]
    model = load_model("tiny", precision="fast", collections=Collections.open([tiny_zoo]))
    alone = load_attack("fgsm", collections=Collections.open([tiny_zoo]))(model, case.volume, made.threat, 0)
    for attack in ("fgsm", "fgsm@tiny"):
        np.testing.assert_array_equal(case.cells["tiny", attack].image, alone.volume.image)
    assert np.abs(case.cells["tiny", "fgsm"].image - case.origin).max() == pytest.approx(10.2, abs=1e-4)
    assert all(cell.agrees for cell in case.cells.values())


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model_sha256", "0" * 64, "weights of tiny: 0000"),
        ("volume_sha256", "0" * 64, r"volume of case test_0000 \(generated\): 0000"),
        ("settings.attack.name", "other", "settings of attack fgsm"),
        ("settings.pipeline.margin", [9, 9, 9], "settings of tiny"),
        ("cell", "0" * 64, "identity of tiny, fgsm, test_0000"),
    ],
)
def test_other_inputs_are_refused(tiny_zoo, finished, tmp_path, path, value, message) -> None:
    lines = [json.loads(line) for line in (finished / "results.jsonl").read_text().splitlines()]
    lines = [one for one in lines if one["case"] == "test_0000" and one["attack"] in ("clean", "fgsm")]
    *keys, last = path.split(".")
    for changed in lines[1:] if path != "volume_sha256" else lines:
        for key in keys:
            changed = changed[key]
        changed[last] = value
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    with pytest.raises(InputError, match=message) as caught:
        replay(tiny_zoo, tmp_path).check(["test_0000"])
    assert "--cases 0" in str(caught.value)


def test_a_case_that_is_not_in_the_data(tiny_zoo, finished) -> None:
    with pytest.raises(InputError, match=r"case test_0009 .* is not in the data"):
        replay(tiny_zoo, finished).check(["test_0009"])
