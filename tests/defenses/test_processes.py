# SPDX-License-Identifier: Apache-2.0
"""Two processes train the weights that one trains, and what they refuse together."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robust3d.defenses.draws import Draws
from robust3d.defenses.launch import joined, local_device
from robust3d.defenses.processes import Processes
from robust3d.defenses.sampling import WindowSampler
from robust3d.defenses.validation import validate
from robust3d.foundation.errors import InputError
from robust3d.networks.folding import inference_copy
from robust3d.networks.resdsn import ResDSN
from robust3d.segment.intensity import hu_window
from robust3d.threat.model import ThreatModel
from tests.defenses.conftest import adversary_section
from tests.defenses.two_processes import train

SCENARIOS: dict[str, dict[str, object]] = {
    "natural": {},
    "accumulated": {"accumulate": 2, "average": 0.9},
    "pgd": {"adversary": adversary_section("pgd", warmup=0)},
    "free": {"adversary": adversary_section("free", replays=2)},
    "noise": {"adversary": adversary_section("noise")},
    "trades": {"adversary": adversary_section("trades", warmup=0)},
    "adaptive": {"adversary": adversary_section("adaptive", warmup=0)},
    "vaft": {"adversary": adversary_section("vaft", warmup=0)},
}
pytestmark = pytest.mark.timeout(1200)

TOLERANCE = {"natural": 1e-5, "accumulated": 1e-5, "noise": 1e-5, "pgd": 1e-4, "adaptive": 1e-4}
"""Of the change of the weights, without running statistics; a sign attack turns a gradient within rounding of 0
either way."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Each scenario by one process and by two, and what the two said; the processes start only once."""
    root = tmp_path_factory.mktemp("processes")

    def job(name: str, out: str, **more: object) -> dict[str, object]:
        settings = {"iterations": 3, "batch": 4, "checkpoint_every": 2, "validate_every": 3, "validation_windows": 12}
        recipe = settings | SCENARIOS.get(name, {}) | more.pop("recipe", {})
        return {"out": str(root / out), "recipe": recipe, **more}

    for name in SCENARIOS:
        train(job(name, f"one-{name}"), Processes())
    train(job("start", "start", recipe={"iterations": 1, "learning_rate": 1e-12}), Processes())
    train(job("natural", "one-then-two", stop_in_process=0, stop_at=1), Processes())
    jobs = [job(name, f"two-{name}") for name in SCENARIOS]
    jobs += [
        job("natural", "two-stopped", stop_in_process=1, stop_at=1),
        job("natural", "two-stopped"),
        job("natural", "two-then-one", stop_in_process=0, stop_at=1),
        job("natural", "one-then-two"),
        job("natural", "differ", other_cases_in_process=1),
        job("natural", "odd", recipe={"batch": 3}),
        job("natural", "dead", recipe={"learning_rate": 1e18}),
    ]
    path = root / "jobs.json"
    path.write_text(json.dumps(jobs))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launcher, "-m", "tests.defenses.two_processes", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    train(job("natural", "two-then-one"), Processes())
    said = [json.loads(path.with_suffix(f".{rank}.json").read_text()) for rank in (0, 1)]
    return root, said


def weights(folder: Path, prefix: str = "network.") -> torch.Tensor:
    stored = load_file(folder / "coarse.checkpoint.safetensors")
    # Running statistics follow from the windows, and are far larger than what the optimizer changes.
    learned = [
        name
        for name in sorted(stored)
        if name.startswith(prefix) and not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    ]
    return torch.cat([stored[name].double().flatten() for name in learned])


def relative_change(root: Path, one: str, other: str) -> float:
    first, second = weights(root / one), weights(root / other)
    return float((first - second).norm() / (first - weights(root / "start")).norm())


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_processes_train_the_weights_of_one(runs, name) -> None:
    root, said = runs
    assert [one[list(SCENARIOS).index(name)] for one in said] == ["", ""]
    assert relative_change(root, f"one-{name}", f"two-{name}") < TOLERANCE.get(name, 0.1)


def test_a_run_stopped_by_one_process_resumes_in_as_many_bit_by_bit(runs) -> None:
    root, _ = runs
    first, second = (load_file(root / run / "coarse.checkpoint.safetensors") for run in ("two-natural", "two-stopped"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["one-then-two", "two-then-one"])
def test_a_run_goes_on_in_another_number_of_processes(runs, name) -> None:
    root, _ = runs
    assert relative_change(root, "one-natural", name) < 1e-5


def test_what_one_process_cannot_do_all_refuse(runs) -> None:
    _, (first, second) = runs
    assert first[-3:] == second[-3:]
    differ, odd, dead = first[-3:]
    assert "process 1 has another start" in differ
    assert "a batch of 3 windows in 1 part cannot be shared equally by 2 processes" in odd
    assert "the loss became" in dead


def test_shares_of_a_batch_are_its_windows(cases, make_recipe) -> None:
    sampler = WindowSampler(cases, make_recipe().coarse, hu_window(-100, 240))
    whole = sampler.draw(12, 1, 2)
    for parts in (1, 3):
        shares = [Processes(rank, 2).windows(12, parts) for rank in (0, 1)]
        assert sorted(shares[0] + shares[1]) == list(range(12))
        for share in shares:
            assert torch.equal(sampler.draw(12, 1, 2, only=share).image, whole.image[share])
        # What passes through the network together is the same part of the batch in both.
        length = 6 // parts
        for part in range(parts):
            together = shares[0][part * length :][:length] + shares[1][part * length :][:length]
            assert sorted(together) == list(range(part * 12 // parts, (part + 1) * 12 // parts))


class Share(Processes):
    """A process that is asked for its own sums."""

    sums: ClassVar[list[list[float]]] = []

    def total(self, values: Sequence[float]) -> list[float]:
        self.sums.append(list(values))
        return list(values)


@pytest.mark.parametrize("accumulate", [None, 2])
def test_validation_is_shared_as_training_is(cases, make_recipe, accumulate) -> None:
    recipe = make_recipe(adversary=adversary_section("fast"), batch=4, accumulate=accumulate, validation_windows=6)
    sampler = WindowSampler(cases, recipe.coarse, hu_window(-100, 240))
    torch.manual_seed(0)
    network = inference_copy(ResDSN(width=2))
    sizes = []
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))

    def sums(rank: int, count: int) -> np.ndarray:
        Share.sums.clear()
        sizes.clear()
        validate(network, sampler, recipe.adversary, (-100, 240), torch.device("cpu"), Share(rank, count))
        assert set(sizes) == {4 // (accumulate or 1) // count}
        return np.array(Share.sums)

    whole, parts = sums(0, 1), sums(0, 2) + sums(1, 2)
    # Two batches of four windows of 16 voxels, clean, PGD and FGSM.
    assert whole.sum(axis=1).tolist() == parts.sum(axis=1).tolist() == [8 * 16**3] * 3
    assert np.array_equal(whole[0], parts[0])
    # The sign of a gradient within rounding of 0 may turn.
    assert np.allclose(whole, parts, atol=20)


def test_draws_of_processes_are_those_of_one() -> None:
    image = torch.zeros(6, 1, 4, 4, 4)
    threat = ThreatModel(epsilon=10.2, unit="HU")

    def draws(rank: int, count: int) -> list[torch.Tensor]:
        made = Draws(torch.Generator().manual_seed(3), rank, count)
        part = image[: 6 // count]
        return [made.ball(threat, part), made.normal(part), made.ball(threat, part)]

    parts = zip(*(draws(rank, 3) for rank in range(3)), strict=True)
    for whole, pieces in zip(draws(0, 1), parts, strict=True):
        assert torch.equal(whole, torch.cat(pieces))
        assert whole.unique().numel() > 300


def test_synchronised_networks_fold_to_the_same_logits() -> None:
    torch.manual_seed(0)
    network = ResDSN(width=2)
    for _ in range(3):
        network(torch.randn(2, 1, 16, 16, 16))
    windows = torch.randn(1, 1, 16, 16, 16)
    expected = inference_copy(network)(windows)
    converted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    torch.testing.assert_close(inference_copy(converted)(windows), expected)
    assert not any(isinstance(layer, torch.nn.SyncBatchNorm) for layer in inference_copy(converted).conv2.modules())


def test_each_process_takes_its_own_device(monkeypatch) -> None:
    assert local_device("cuda:1") == "cuda:1"
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert local_device("cuda") == "cuda:2"
    assert local_device("cpu") == "cpu"
    with pytest.raises(InputError, match="device cuda:1 is one, and 4 processes need one each"):
        local_device("cuda:1")


def test_several_processes_need_accelerate(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(InputError, match=r"pip install 'robust3d\[train\]'"), joined(torch.device("cpu")):
        pass
