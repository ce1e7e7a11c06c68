# SPDX-License-Identifier: Apache-2.0
"""Training: it learns, it resumes exactly, and it keeps the best weights."""

import errno
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robust3d.defenses.learner import supervised_loss
from robust3d.defenses.run import TrainedStage, Training
from robust3d.defenses.stage import StageTrainer
from robust3d.foundation.digest import digest_file
from robust3d.foundation.errors import InputError
from robust3d.networks.resdsn import ResDSN
from robust3d.networks.weights import save_weights
from tests.defenses.conftest import ADVERSARIES, adversary_section


def no_zoo(model: str, stage: str) -> Path:
    raise InputError(f"no zoo here: {model}/{stage}")


def start(recipe, out, cases) -> Training:
    return Training(recipe, out, cases[:2], cases[2:], find_weights=no_zoo, device=torch.device("cpu"))


def quiet(*_) -> None:
    return None


@pytest.mark.parametrize("algorithm", [None, *ADVERSARIES])
def test_a_stopped_run_resumes_to_the_same_weights(tmp_path, cases, make_recipe, algorithm) -> None:
    adversary = algorithm is not None and adversary_section(algorithm, clean_start=0.1)
    recipe = make_recipe(adversary=adversary, fine=algorithm in (None, "pgd"))
    whole = [start(recipe, tmp_path / "whole", cases).run_stage(name, quiet) for name in recipe.stages]
    for name in recipe.stages:
        for stop_at in (3, 8):  # between and at checkpoints
            seen: list[int] = []
            stopped = start(recipe, tmp_path / "parts", cases).run_stage(
                name, lambda done, *_, seen=seen: seen.append(done), stop=lambda seen=seen, at=stop_at: seen[-1] == at
            )
            assert stopped is None
        last = start(recipe, tmp_path / "parts", cases).run_stage(name, quiet)
        assert isinstance(last, TrainedStage)
    for one in whole:
        for suffix in (".safetensors", ".checkpoint.safetensors"):
            paths = [tmp_path / run / f"{one.name}{suffix}" for run in ("whole", "parts")]
            first, second = (load_file(path) for path in paths)
            assert first.keys() == second.keys()
            assert all(torch.equal(first[key], second[key]) for key in first)
        assert digest_file(tmp_path / "parts" / f"{one.name}.safetensors") == one.sha256


def test_the_fine_stage_starts_from_the_best_coarse_weights(tmp_path, cases, make_recipe) -> None:
    recipe = make_recipe(fine=True)
    training = start(recipe, tmp_path, cases)
    with pytest.raises(InputError, match=r"coarse\.safetensors does not exist"):
        training.trainer("fine")
    training.run_stage("coarse", quiet)
    stored = load_file(tmp_path / "coarse.safetensors")
    loaded = training.trainer("fine").network.state_dict()
    assert all(torch.equal(tensor.float(), loaded[name].float()) for name, tensor in stored.items())


def test_only_the_named_layers_start_from_other_weights(tmp_path, cases, make_recipe) -> None:
    fresh = start(make_recipe(), tmp_path / "fresh", cases).trainer("coarse").network.state_dict()
    source = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in fresh.items()}
    torch.manual_seed(0)
    network = ResDSN(width=2)
    network.load_state_dict(source)
    path = tmp_path / "source.safetensors"
    save_weights(network, path)
    recipe = make_recipe(start="robust/coarse", start_layers=["conv1", "conv2"])
    training = start(recipe, tmp_path / "out", cases)
    training.find_weights = lambda model, stage: path
    for name, tensor in training.trainer("coarse").network.state_dict().items():
        expected = source if name.startswith(("conv1.", "conv2.")) else fresh
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-3)
    training.recipe = make_recipe(start="robust/coarse", start_layers=["cnv1"])
    with pytest.raises(InputError, match="has no layer 'cnv1'; did you mean 'conv1'"):
        training.trainer("coarse")


def test_named_layers_may_come_from_a_network_of_other_classes(tmp_path, cases, make_recipe) -> None:
    source = ResDSN(width=2, classes=3)
    path = tmp_path / "source.safetensors"
    save_weights(source, path)
    training = start(make_recipe(start="robust/coarse", start_layers=["conv1"]), tmp_path / "out", cases)
    training.find_weights = lambda model, stage: path
    loaded = training.trainer("coarse").network.conv1[0].weight
    torch.testing.assert_close(loaded, source.conv1[0].weight, rtol=1e-3, atol=1e-3)


def test_dropout_is_the_same_in_a_resumed_run(tmp_path, cases, make_recipe) -> None:
    pytest.importorskip("monai")
    options = {"channels": [2, 4], "strides": [2], "dropout": 0.5}
    network = {"name": "monai:UNet", "options": options}
    recipe = make_recipe(network=network, auxiliary_weights=[], validate_every=12)
    whole = start(recipe, tmp_path / "whole", cases).run_stage("coarse", quiet)
    assert start(recipe, tmp_path / "parts", cases).run_stage("coarse", quiet, stop=lambda: True) is None
    torch.rand(7)
    parts = start(recipe, tmp_path / "parts", cases).run_stage("coarse", quiet)
    assert whole.sha256 == parts.sha256
    still = make_recipe(
        network=network | {"options": options | {"dropout": 0}}, auxiliary_weights=[], validate_every=12
    )
    assert start(still, tmp_path / "still", cases).run_stage("coarse", quiet).sha256 != whole.sha256


@pytest.mark.parametrize(
    ("method", "calls", "what"), [("_step", 5, "step 6"), ("_validate", 0, "the validation after step 6")]
)
def test_what_does_not_fit_memory_ends_with_a_sentence(
    tmp_path, cases, make_recipe, monkeypatch, method, calls, what
) -> None:
    given, done = getattr(StageTrainer, method), []

    def short(*arguments: object) -> object:
        if len(done) == calls:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        done.append(given(*arguments))
        return done[-1]

    monkeypatch.setattr(StageTrainer, method, short)
    with pytest.raises(
        InputError, match=rf"2 windows of 16 x 16 x 16 .* in {what}; .* with accumulate .* go on from step 4 in"
    ):
        start(make_recipe(validate_every=6, checkpoint_every=4), tmp_path, cases).run_stage("coarse", quiet)


def test_loss_falls_and_the_best_is_the_validated_one(tmp_path, cases, make_recipe) -> None:
    recipe = make_recipe(iterations=60, validate_every=20)
    losses: list[float] = []
    found = []
    trained = start(recipe, tmp_path, cases).run_stage(
        "coarse", lambda done, loss, validation: (losses.append(loss), found.append(validation))
    )
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    scores = [one.clean_dsc for one in found if one is not None]
    assert len(scores) == 3
    assert trained.progress.best_dsc == max(scores)
    assert trained.progress.best_iteration == 20 * (1 + scores.index(max(scores)))


def test_adversarial_validation_chooses_by_robust_dsc(tmp_path, cases, make_recipe) -> None:
    trained = start(make_recipe(adversary=True), tmp_path, cases).run_stage("coarse", quiet)
    assert trained.progress.best_dsc == max(entry["robust_dsc"] for entry in trained.progress.history)


def test_the_clean_start_is_natural_training(tmp_path, cases, make_recipe) -> None:
    losses: dict[str, list[float]] = {}
    for name, adversary in {"natural": False, "madry": adversary_section("pgd", clean_start=0.5, warmup=0)}.items():
        seen = losses.setdefault(name, [])
        recipe = make_recipe(adversary=adversary)
        start(recipe, tmp_path / name, cases).run_stage("coarse", lambda _, loss, __, seen=seen: seen.append(loss))
    same = [one == other for one, other in zip(*losses.values(), strict=True)]
    assert same[:6] == [True] * 6
    assert not any(same[6:])


def test_noise_is_validated_at_its_epsilon_or_clean_alone(tmp_path, cases, make_recipe) -> None:
    for epsilon, robust in ((0, False), (10.2, True)):
        recipe = make_recipe(adversary=adversary_section("noise", epsilon=epsilon))
        trained = start(recipe, tmp_path / str(epsilon), cases).run_stage("coarse", quiet)
        assert all(("robust_dsc" in entry) is robust for entry in trained.progress.history)


def test_a_checkpoint_of_another_card_is_refused(tmp_path, cases, make_recipe) -> None:
    start(make_recipe(), tmp_path, cases).run_stage("coarse", quiet)
    other = make_recipe(learning_rate=0.01, adversary=True, momentum=0.8)
    message = r"other settings: adversary.algorithm = not set, now pgd; .*; and \d more; give another --out"
    with pytest.raises(InputError, match=message):
        start(other, tmp_path, cases).trainer("coarse")
    with pytest.raises(InputError, match=r"settings: coarse.learning_rate = 0.05, now 0.01; give another --out"):
        start(make_recipe(learning_rate=0.01), tmp_path, cases).trainer("coarse")


def test_a_checkpoint_without_settings_shows_its_hash(tmp_path, cases, make_recipe) -> None:
    trainer = start(make_recipe(), tmp_path, cases).trainer("coarse")
    trainer.progress.settings = {}
    trainer.run(quiet)
    with pytest.raises(InputError, match=f"hash {trainer.progress.recipe[:12]}"):
        start(make_recipe(learning_rate=0.01), tmp_path, cases).trainer("coarse")


def test_a_full_disk_ends_training_at_a_checkpoint_that_it_names(tmp_path, cases, make_recipe, monkeypatch) -> None:
    recipe = make_recipe()
    start(recipe, tmp_path / "whole", cases).run_stage("coarse", quiet)
    training, write = start(recipe, tmp_path / "full", cases), Path.write_bytes
    steps: list[int] = []

    def fill(path: Path, content: bytes) -> int:
        if steps[-1] == 8:
            write(path, content[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill)
        with pytest.raises(InputError) as caught:
            training.run_stage("coarse", lambda done, *_: steps.append(done))
    path = training.checkpoint("coarse")
    assert str(caught.value).startswith(f"cannot write {path}: No space left on device; make room")
    assert str(caught.value).endswith("the last checkpoint is of step 4")
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    again = start(recipe, tmp_path / "full", cases)
    assert again.trainer("coarse").progress.iteration == 4
    again.run_stage("coarse", quiet)
    first, second = (load_file(tmp_path / run / path.name) for run in ("whole", "full"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_weights_of_another_architecture_name_the_first_layer(tmp_path, cases, make_recipe) -> None:
    path = tmp_path / "wide.safetensors"
    save_weights(ResDSN(width=4), path)
    training = start(make_recipe(start="wide/coarse"), tmp_path, cases)
    training.find_weights = lambda model, stage: path
    with pytest.raises(
        InputError, match=r"layer 'conv1.0.weight' has shape \(4, 1, 3, 3, 3\) in .* and \(2, 1, 3, 3, 3\)"
    ):
        training.trainer("coarse")


def test_a_damaged_checkpoint_is_refused(tmp_path, cases, make_recipe) -> None:
    start(make_recipe(), tmp_path, cases).run_stage("coarse", quiet)
    path = tmp_path / "coarse.checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        start(make_recipe(), tmp_path, cases).trainer("coarse")


def test_a_loss_that_is_not_finite_stops_with_a_sentence(tmp_path, cases, make_recipe) -> None:
    with pytest.raises(InputError, match="lower the learning rate"):
        start(make_recipe(learning_rate=1e18), tmp_path, cases).run_stage("coarse", quiet)


def test_an_unknown_start_is_refused(tmp_path, cases, make_recipe) -> None:
    with pytest.raises(InputError, match="MODEL/STAGE"):
        start(make_recipe(start="pretrained"), tmp_path, cases).trainer("coarse")
    with pytest.raises(InputError, match="no zoo here: some-model/coarse"):
        start(make_recipe(start="some-model/coarse"), tmp_path, cases).trainer("coarse")


def test_a_checkpoint_of_other_cases_is_refused(tmp_path, cases, make_recipe) -> None:
    start(make_recipe(), tmp_path, cases).run_stage("coarse", quiet)
    with pytest.raises(InputError, match="other weights or cases"):
        start(make_recipe(), tmp_path, cases[::-1]).trainer("coarse")


def test_cases_with_more_classes_than_the_network_are_refused(tmp_path, cases, make_recipe) -> None:
    three = replace(cases[0], label=cases[0].label * 2)
    with pytest.raises(InputError, match="case ball_0 holds class 2"):
        start(make_recipe(), tmp_path, [three, *cases[1:]])


def test_ignored_voxels_are_refused(tmp_path, cases, make_recipe) -> None:
    open_ = replace(cases[0], label=np.where(cases[0].label, 255, 0).astype(np.uint8))
    with pytest.raises(InputError, match=r"case ball_0 holds voxels .*'ignore'.*training does not support"):
        start(make_recipe(), tmp_path, [open_, *cases[1:]])


def test_windows_of_deployment_that_do_not_fit_are_refused_before_training(tmp_path, cases, make_recipe) -> None:
    recipe = make_recipe(network={"name": "vnet", "width": 2})
    wide = recipe.model_copy(update={"deploy": recipe.deploy.model_copy(update={"coarse_window": 40})})
    with pytest.raises(InputError, match=r"window \(40,\) does not fit the network"):
        start(wide, tmp_path, cases).trainer("coarse")


class Fixed(torch.nn.Module):
    """Returns given logits whatever the windows are."""

    def __init__(self, *outputs: object) -> None:
        super().__init__()
        self.outputs = list(outputs)

    def forward_supervised(self, windows: torch.Tensor) -> list[object]:
        return self.outputs


def test_losses_of_all_heads_by_hand() -> None:
    """Two voxels, the first one foreground; its probabilities are 0.9, 0.2 (main) and 0.5, 0.5 (auxiliary)."""
    label = torch.tensor([1, 0]).reshape(1, 2, 1, 1)
    heads = [torch.tensor(p).reshape(1, 1, 2, 1, 1) for p in ([0.9, 0.2], [0.5, 0.5])]
    network = Fixed(*(torch.cat([1 - p, p], dim=1).log() for p in heads))
    windows = torch.zeros(1, 1, 2, 1, 1)
    entropy = -(math.log(0.9) + math.log(0.8)) / 2 + 0.3 * math.log(2)
    dice = 1 - (2 * 0.9 + 1) / (0.9 + 0.2 + 1 + 1) + 0.3 * (1 - (2 * 0.5 + 1) / (1 + 1 + 1))
    assert supervised_loss(network, windows, label, (0.3,)).item() == pytest.approx(entropy, rel=1e-6)
    assert supervised_loss(network, windows, label, (0.3,), loss="dsc").item() == pytest.approx(dice, rel=1e-6)
    both = supervised_loss(network, windows, label, (0.3,), loss="dice_ce").item()
    assert both == pytest.approx(entropy + dice, rel=1e-6)


@pytest.mark.parametrize(("output", "found"), [(torch.zeros(1, 2), r"\(1, 2\)"), ([], "list")])
def test_a_network_that_does_not_segment_is_refused(output, found) -> None:
    with pytest.raises(InputError, match=f"the network returned {found} for windows of shape"):
        supervised_loss(Fixed(output), torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 4, 4, 4, dtype=torch.int64), ())


def test_the_network_or_the_card_chooses_the_loss(tmp_path, cases, make_recipe) -> None:
    def trainer(name: str, **stage: object) -> StageTrainer:
        recipe = make_recipe(network={"name": name, "width": 2}, **stage)
        return start(recipe, tmp_path, cases).trainer("coarse")

    assert trainer("resdsn").learner.loss == "ce"
    assert trainer("vnet").learner.loss == "dsc"
    assert trainer("vnet", loss="ce").learner.loss == "ce"
    assert trainer("resdsn", loss="dsc").learner.loss == "dsc"


def test_windows_that_do_not_fit_the_network_are_refused(tmp_path, cases, make_recipe) -> None:
    unet = {"name": "monai:UNet", "options": {"channels": [2, 4], "strides": [3]}}
    for network, stride in (({"name": "vnet", "width": 2}, 16), (unet, 3)):
        with pytest.raises(InputError, match=f"each edge must be a multiple of {stride}"):
            start(make_recipe(network=network, window=8), tmp_path, cases).trainer("coarse")
