# SPDX-License-Identifier: Apache-2.0
"""Early warnings come when they should, survive a resume, and keep quiet otherwise."""

import pytest
import torch
from torch import nn

from robust3d.defenses.monitor import find_warnings
from tests.defenses.conftest import adversary_section
from tests.defenses.test_training import quiet, start


def seen(predicted: float, labelled: float = 50) -> dict[str, float]:
    return {"iteration": 1, "clean_dsc": 0, "predicted_voxels": predicted, "labelled_voxels": labelled}


def attacked(iteration: float, pgd: float, fgsm: float | None) -> dict[str, float]:
    entry = {"iteration": iteration, "clean_dsc": 0.8, "robust_dsc": pgd}
    return entry if fgsm is None else entry | {"fgsm_dsc": fgsm}


@pytest.mark.parametrize(
    ("history", "warned"),
    [
        ([], False),
        ([seen(0)] * 2, False),
        ([seen(0)] * 3, True),
        ([seen(9), seen(0), seen(0), seen(0)], True),
        ([seen(0), seen(0), seen(1)], False),
        ([seen(0), seen(1), seen(0), seen(0)], False),
        ([seen(0, labelled=0)] * 3, False),
        ([{"iteration": 1, "clean_dsc": 0}] * 3, False),  # a checkpoint of an earlier version
    ],
)
def test_collapse_is_told_after_three_empty_validations(history, warned) -> None:
    found = find_warnings(history)
    assert len(found) == warned
    assert all("no foreground predicted in 3 validations in a row" in text for text in found)


@pytest.mark.parametrize(
    ("history", "warned"),
    [
        ([attacked(100, 0.5, 0.6), attacked(200, 0.1, 0.9)], True),
        ([attacked(100, 0.5, 0.6), attacked(200, 0.3, 0.62), attacked(300, 0.1, 0.9)], True),
        ([attacked(100, 0.5, 0.6), attacked(200, 0.1, 0.9), attacked(300, 0.5, 0.6)], False),
        ([attacked(100, 0.5, 0.6), attacked(200, 0.1, 0.2)], False),
        ([attacked(100, 0.5, 0.6), attacked(200, 0.6, 0.9)], False),
        ([attacked(100, 0.5, 0.6), attacked(200, 0.48, 0.62)], False),
        ([attacked(100, 0.5, None), attacked(200, 0.1, None)], False),
    ],
)
def test_catastrophic_overfitting_is_fgsm_rising_while_pgd_falls(history, warned) -> None:
    found = find_warnings(history)
    assert len(found) == warned
    for text in found:
        assert text.startswith(
            "catastrophic overfitting: since iteration 100 the DSC under PGD went from 50.0 to 10.0 % and under FGSM "
            "from 60.0 to 90.0 %"
        )


def test_a_network_of_background_alone_is_reported_also_after_a_resume(tmp_path, cases, make_recipe) -> None:
    recipe = make_recipe(iterations=4, validate_every=1, checkpoint_every=1, learning_rate=1e-9)
    found: list[int] = []
    for stop_at in (2, 4):
        trainer = start(recipe, tmp_path, cases).trainer("coarse")
        silence(trainer.network)
        trainer.run(lambda _, __, validation: found.append(len(validation.warnings)),
                    stop=lambda trainer=trainer, at=stop_at: trainer.progress.iteration == at)  # fmt: skip
    assert found == [0, 0, 1, 1]


def silence(network: nn.Module) -> None:
    """Make every head say background."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv3d) and module.out_channels == 2 and module.kernel_size == (1, 1, 1):
                module.weight.zero_()
                module.bias.copy_(torch.tensor([5.0, -5.0]))


@pytest.mark.parametrize(("algorithm", "single"), [("pgd", False), ("fast", True), ("free", True), ("noise", False)])
def test_fgsm_is_validated_where_training_takes_single_steps(tmp_path, cases, make_recipe, algorithm, single) -> None:
    section = adversary_section(algorithm, epsilon=10.2)
    trained = start(make_recipe(adversary=section), tmp_path, cases).run_stage("coarse", quiet)
    for entry in trained.progress.history:
        assert ("fgsm_dsc" in entry) is single
        assert entry["labelled_voxels"] > 0
