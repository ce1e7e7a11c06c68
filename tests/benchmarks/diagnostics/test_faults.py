# SPDX-License-Identifier: Apache-2.0
"""Each planted fault is caught by the check that is for it; a healthy model raises no flag."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from healthy import THREAT, Blurred, segmenter
from torch.nn.functional import batch_norm, dropout

from robust3d.attacks.cards import load_attack
from robust3d.benchmarks.diagnostics.exam import DEFAULT_ATTACK, Exam
from robust3d.benchmarks.diagnostics.registry import CHECKS, cost, examine
from robust3d.foundation.errors import InputError
from robust3d.segment.cascade import CoarseToFine
from robust3d.segment.intensity import hu_window

FEW = DEFAULT_ATTACK.model_copy(update={"steps": 3, "relative_step": 0.1})


def verdicts(exam: Exam) -> dict[str, str]:
    return {finding.name: finding.verdict for finding in examine(exam)}


def flags(exam: Exam) -> set[str]:
    return {name for name, verdict in verdicts(exam).items() if verdict == "flag"}


def cascade() -> CoarseToFine:
    return CoarseToFine(coarse=segmenter(Blurred()), fine=segmenter(Blurred(), window=8), margin=(2, 2, 2))


@pytest.mark.parametrize("seed", [0, 1])
def test_healthy(exam, volume, seed) -> None:
    assert verdicts(exam(seed=seed)) == {check.name: "ok" for check in CHECKS}
    # The box moves with the prediction, which no gradient sees: no check mistakes that for a fault.
    assert set(verdicts(Exam(cascade(), volume, THREAT, seed=seed)).values()) == {"ok"}


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (
            Blurred(before=lambda x: torch.round(x * 8) / 8),
            {
                "unbounded epsilon reaches DSC 0",
                "loss levels off",
                "white box beats Square and noise",
                "gradient agrees with finite differences",
                "gradient reaches the organ",
                "predictions do not change in stairs",
            },
        ),
        (
            Blurred(after=lambda z: z * 1e4),
            {
                "unbounded epsilon reaches DSC 0",
                "white box beats Square and noise",
                "gradient agrees with finite differences",
                "gradient reaches the organ",
                "logits are not saturated",
            },
        ),
        (
            Blurred(before=lambda x: x + 0.05 * torch.randn_like(x)),
            {
                "epsilon 0 is the identity",
                "gradient agrees with finite differences",
                "output is not random",
                "a window's answer is its own",
            },
        ),
        (
            Blurred(after=lambda z: dropout(z, 0.5, training=True)),
            {"gradient agrees with finite differences", "output is not random", "a window's answer is its own"},
        ),
        (
            Blurred(before=lambda x: 0.25 + 0.2 * batch_norm(x, None, None, training=True)),
            {"a window's answer is its own"},
        ),
        # A straight-through gradient: not zero, and not that of the model.
        (
            Blurred(before=lambda x: x + (torch.round(x * 2) / 2 - x).detach()),
            {"gradient agrees with finite differences"},
        ),
        # NaN where the input is 0: 0 times inf in the backward pass.
        (Blurred(before=lambda x: torch.sqrt(((x - 0.3) * (x > 0.3)) ** 2) + 0.3), {"gradient reaches the organ"}),
    ],
    ids=["quantised", "saturated", "noise", "dropout", "train mode", "straight through", "nan"],
)
def test_planted_fault(exam, network, expected) -> None:
    assert flags(exam(network)) >= expected


def test_train_mode_of_the_module_itself_is_set_right_by_the_pipeline(exam) -> None:
    network = Blurred()
    network.train()
    state = {finding.name: finding for finding in examine(exam(network))}["a window's answer is its own"]
    assert state.verdict == "ok"
    assert "handed over in train mode 2 modules" in map(str, state.figures)
    assert network.training


def test_attack_with_too_few_steps(exam) -> None:
    # Three steps of a tenth do not cross the ball either, which one step of its whole radius does.
    assert flags(exam(attack=FEW)) == {"loss levels off", "iterative beats one step"}


def test_remedy_of_saturation_is_one(exam) -> None:
    masked = Blurred(after=lambda z: z * 1e4)
    strong = DEFAULT_ATTACK.model_copy(update={"loss": "margin"})
    assert "unbounded epsilon reaches DSC 0" not in flags(exam(masked, attack=strong))


def test_statistics_that_move_with_the_volume(exam) -> None:
    found = flags(exam(Blurred(before=lambda x: 0.27 + 0.3 * x), options={"intensity": hu_window(-100, 240)}))
    assert found == {"normalisation leaves the attack alone"}


def test_vote(exam) -> None:
    assert "predictions do not change in stairs" in flags(exam(options={"fusion": "vote"}))


def test_range_that_cuts_what_the_model_sees(exam) -> None:
    assert "epsilon 0 is the identity" in flags(exam(threat=replace(THREAT, valid=(60, 90))))


def test_model_without_skill_is_not_compared(exam) -> None:
    findings = {finding.name: finding for finding in examine(exam(Blurred(after=lambda z: z - 99 * z.detach())))}
    assert findings["random signs are weak"].verdict == "skipped"
    assert "something to lose" in findings["random signs are weak"].meaning


def test_reweighted_loss_has_no_course(exam) -> None:
    found = verdicts(exam(attack=load_attack("segpgd")))
    assert found["loss levels off"] == "skipped"


@pytest.mark.parametrize("attack", [DEFAULT_ATTACK, FEW, load_attack("ifgsm")])
def test_cost_is_as_announced(exam, attack, monkeypatch) -> None:
    one = exam(attack=attack)
    spent = {"gradients": 0, "predictions": 0}

    def counted(name, function):
        def call(self, *arguments, **options):
            spent[name] += 1
            return function(self, *arguments, **options)

        return call

    kind = type(one.pipeline)
    monkeypatch.setattr(kind, "loss_gradient", counted("gradients", kind.loss_gradient))
    monkeypatch.setattr(kind, "predict", counted("predictions", kind.predict))
    examine(one)
    assert (spent["gradients"], spent["predictions"]) == cost(attack)


def test_equal_exams_give_equal_findings_of_a_random_model_too(exam) -> None:
    one, two = (exam(Blurred(before=lambda x: x + 0.05 * torch.randn_like(x))) for _ in range(2))
    before = torch.get_rng_state()
    assert examine(one) == examine(two)
    assert torch.equal(torch.get_rng_state(), before)


def test_bad_input(exam, volume) -> None:
    with pytest.raises(InputError, match="epsilon 0 allows no perturbation"):
        exam(threat=replace(THREAT, epsilon=0))
    with pytest.raises(InputError, match="is targeted"):
        exam(attack=load_attack("erase"))
    with pytest.raises(InputError, match="holds no organ"):
        Exam(segmenter(Blurred()), replace(volume, label=np.zeros(volume.shape, np.uint8)), THREAT)
    with pytest.raises(InputError, match="has no label"):
        Exam(segmenter(Blurred()), replace(volume, label=None), THREAT)
