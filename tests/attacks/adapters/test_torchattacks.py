# SPDX-License-Identifier: Apache-2.0
"""torchattacks on whole volumes: the module's gradient, our attacks as oracles, and what is refused."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robust3d.attacks.adapters.refusals import TORCHATTACKS
from robust3d.attacks.adapters.torchattacks import ALLOWED
from robust3d.attacks.adapters.whole_volume import WholeVolumeModel
from robust3d.attacks.cards import AttackCard, load_attack
from robust3d.foundation.cards import check_card
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import dsc
from robust3d.segment.cost import counting
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import hu_window
from robust3d.segment.segmenter import Segmenter
from robust3d.threat.model import ThreatModel
from robust3d.volume.labels import IGNORE

torchattacks = pytest.importorskip("torchattacks")

LINF = ThreatModel(epsilon=10.7, unit="HU", valid=(-100, 240))
L2 = ThreatModel(norm="l2", epsilon=5.3, unit="RMS HU", valid=(-100, 240))
CARDS = ["fgsm", "bim", "pgd", "rfgsm", "ffgsm", "eotpgd", "tpgd", "pgdl2"]

every = pytest.mark.parametrize("name", CARDS)


def small(name: str):
    card = load_attack(f"torchattacks-{name}")
    return load_attack(f"torchattacks-{name}", steps=min(card.steps, 3)) if card.steps > 1 else card


def threat_of(attack, **changes) -> ThreatModel:
    return replace(L2 if attack.norms == ("l2",) else LINF, **changes)


def clipped(volume) -> np.ndarray:
    return volume.image.clip(-100, 240)


def card(**settings):
    content = {"attack": {"name": "x", "algorithm": "torchattacks", **settings}, "reference": {"paper": ""}}
    return check_card(content, AttackCard, where="card x").attack


def assert_same_to_rounding(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal, but for the rare voxel whose gradient is zero to rounding: [0, 1] and HU may give it opposite signs."""
    apart = np.abs(ours - theirs) > 1e-4
    assert apart.mean() < 1e-3


@pytest.mark.parametrize("fusion", ["probabilities", "logits"])
@pytest.mark.parametrize("weighting", ["constant", "gaussian"])
def test_backward_is_autograd_through_the_sliding_window(segmenter, volume, fusion, weighting) -> None:
    network = segmenter.network.eval()
    pipeline = Segmenter.from_network(
        network,
        window=(12, 10, 8),
        grid=overlap(0.5),
        intensity=hu_window(-100, 240),
        fusion=fusion,
        weighting=weighting,
        window_batch=5,
    ).frozen_at(clipped(volume))
    model = WholeVolumeModel(pipeline, torch.from_numpy(volume.label), (-100, 240))
    unit = model.to_unit(torch.from_numpy(clipped(volume))).requires_grad_(True)
    logits = model(unit)
    cotangent = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(logits, unit, cotangent)

    same = unit.detach().clone().requires_grad_(True)
    raw = (-100 + 340 * same[0, 0]).clamp(-100, 240)
    normalised = (raw - pipeline.intensity.offset) / pipeline.intensity.scale
    plan = pipeline._plan(raw)
    weights = pipeline.fusion.weights(plan, raw)
    total = torch.zeros((2, *raw.shape))
    for corner in plan.corners:
        window = plan.gather(normalised, [corner])
        output = pipeline.fusion.output(network(window[None]))[0] * weights
        whole = torch.zeros_like(total)
        whole[(slice(None), *plan.place(corner))] = output
        total = total + whole
    fused = total / plan.coverage(weights)
    expected_logits = fused if fusion == "logits" else fused.log()
    (expected,) = torch.autograd.grad(expected_logits[None], same, cotangent)

    torch.testing.assert_close(logits, expected_logits[None].detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert (model.forwards, model.backwards) == (1, 1)


def test_fgsm_is_our_fgsm_on_the_fused_gradient(segmenter, volume) -> None:
    ours = load_attack("fgsm", gradient="fused", windows="all")(segmenter, volume, LINF)
    theirs = load_attack("torchattacks-fgsm")(segmenter, volume, LINF)
    assert_same_to_rounding(ours.volume.image, theirs.volume.image)
    assert (theirs.gradients, theirs.queries, theirs.trace) == (1, 0, ())
    assert theirs.details["library"].startswith("torchattacks 3")


def test_bim_is_our_ifgsm(segmenter, volume) -> None:
    ours = load_attack("ifgsm", gradient="fused", windows="all", steps=3)(segmenter, volume, LINF)
    changes = {"relative_step": None, "step_size": 3.4, "step_unit": "HU", "steps": 3}
    theirs = load_attack("torchattacks-bim", **changes)(segmenter, volume, LINF)
    assert_same_to_rounding(ours.volume.image, theirs.volume.image)


def test_pgdl2_is_our_steepest_ascent(segmenter, volume) -> None:
    ours = load_attack("pgd", windows="all", steps=3, start="clean", restarts=1, iterate="last", check_every=None)
    theirs = load_attack("torchattacks-pgdl2", steps=3, start="clean", relative_step=0.25)
    images = [attack(segmenter, volume, L2).volume.image for attack in (ours, theirs)]
    assert np.abs(images[0] - images[1]).max() < 1e-3
    assert np.abs(images[0] - clipped(volume)).max() > 5


def test_a_cascade_is_attacked_through_its_coarse_stage(segmenter, cascade, volume) -> None:
    attack = load_attack("torchattacks-fgsm")
    stage, whole = (attack(pipeline, volume, LINF) for pipeline in (segmenter, cascade))
    assert np.array_equal(stage.volume.image, whole.volume.image)
    assert dsc(cascade.predict(whole.volume.image).mask, volume.label) < dsc(
        cascade.predict(clipped(volume)).mask, volume.label
    )
    with pytest.raises(InputError, match="target = 'coarse'"):
        card(attack="FGSM", target="c2f")


@every
def test_epsilon_zero_is_the_identity(name, segmenter, volume) -> None:
    attack = small(name)
    assert np.array_equal(attack(segmenter, volume, threat_of(attack, epsilon=0)).volume.image, clipped(volume))


@every
@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_bound_range_and_seed(name, segmenter, volume, storage) -> None:
    attack = small(name)
    threat = threat_of(attack, storage=storage)
    case = replace(volume, image=np.rint(volume.image))
    first, again, other = (attack(segmenter, case, threat, seed) for seed in (5, 5, 6))
    image = first.volume.image
    change = image.astype(np.float64) - clipped(case)
    size = np.sqrt((change**2).mean()) if threat.norm == "l2" else np.abs(change).max()
    assert 0.3 * threat.epsilon < size <= threat.epsilon + 1e-4
    assert image.min() >= -100
    assert image.max() <= 240
    assert np.array_equal(image, again.volume.image)
    assert np.array_equal(image, other.volume.image) != (name not in ("fgsm", "bim"))
    assert first.gradients == attack.steps * (attack.eot_iter or 1)
    assert first.queries == (name == "tpgd")


def test_the_state_of_torch_and_of_the_model_is_left_alone(segmenter, volume) -> None:
    network = segmenter.network
    network.train()
    network[3].weight.requires_grad_(False)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    random = torch.random.get_rng_state()
    attack = load_attack("torchattacks-pgd", steps=2)
    with torch.no_grad():
        attack(segmenter, volume, LINF)
    with pytest.raises(InputError, match="class 9"):
        attack(segmenter, replace(volume, label=np.full(volume.shape, 9, np.uint8)), LINF)
    with pytest.raises(InputError, match="no label"):
        attack(segmenter, replace(volume, label=None), LINF)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(module.training for module in network.modules())
    assert not network[3].weight.requires_grad
    assert network[0].weight.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


def test_an_error_in_the_backward_pass_leaves_the_model_alone(segmenter, volume) -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = segmenter.network

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            if windows.requires_grad:
                raise InputError("out of luck")
            return self.net(windows)

    failing = replace(segmenter, network=Failing().train())
    with pytest.raises(InputError, match="out of luck"):
        load_attack("torchattacks-fgsm")(failing, volume, LINF)
    assert all(module.training for module in failing.network.modules())


def test_ignored_voxels_do_not_count(segmenter, volume) -> None:
    label = volume.label.copy()
    label[:11] = IGNORE
    case = replace(volume, label=label)
    ours = load_attack("fgsm", gradient="fused", windows="all")(segmenter, case, LINF)
    theirs = load_attack("torchattacks-fgsm")(segmenter, case, LINF)
    assert_same_to_rounding(ours.volume.image, theirs.volume.image)


def test_windows_are_counted_and_forward_costs_one_prediction(segmenter, volume) -> None:
    with counting() as prediction:
        segmenter.predict(volume.image)
    with counting() as ours:
        load_attack("fgsm", gradient="fused", windows="all")(segmenter, volume, LINF)
    with counting() as theirs:
        load_attack("torchattacks-fgsm")(segmenter, volume, LINF)
    assert theirs.gradient_windows == ours.gradient_windows == prediction.forward_windows
    assert theirs.forward_windows == 2 * ours.forward_windows


@pytest.mark.parametrize("name", sorted(TORCHATTACKS))
def test_attacks_that_are_wrong_on_volumes_are_refused(name) -> None:
    with pytest.raises(InputError, match=f"torchattacks attack '{name}' is refused: its? .*; (use|name) "):
        card(attack=name, relative_step=0.25, steps=3)


def test_every_attack_of_the_library_is_either_allowed_or_refused() -> None:
    assert set(torchattacks.__all__) == set(ALLOWED) | set(TORCHATTACKS)
    assert not set(ALLOWED) & set(TORCHATTACKS)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"attack": "PDG"}, "did you mean 'PGD'"),
        ({"attack": "FGSM", "relative_step": 1.0}, "FGSM has no relative_step; leave it out"),
        ({"attack": "FGSM", "steps": 3}, "FGSM has no steps; leave it out"),
        ({"attack": "BIM", "relative_step": 0.1}, "BIM needs steps"),
        ({"attack": "BIM", "steps": 3}, "either step_size with step_unit, or relative_step"),
        ({"attack": "BIM", "steps": 3, "step_size": 2.0}, "has no unit; add step_unit"),
        ({"attack": "BIM", "steps": 3, "relative_step": 0.1, "start": "clean"}, "BIM has no start"),
        ({"attack": "EOTPGD", "steps": 3, "relative_step": 0.1, "start": "clean"}, "EOTPGD needs eot_iter"),
        ({"attack": "PGD", "steps": 3, "relative_step": 0.1}, "PGD needs start"),
    ],
)
def test_impossible_settings_are_refused(settings, sentence) -> None:
    with pytest.raises(InputError, match=sentence):
        card(**settings)


def test_threat_models_that_do_not_fit_are_refused(segmenter, volume) -> None:
    with pytest.raises(InputError, match=r"valid range.*algorithm = 'art'"):
        load_attack("torchattacks-fgsm")(segmenter, volume, replace(LINF, valid=None))
    with pytest.raises(InputError, match="norm linf"):
        load_attack("torchattacks-fgsm").check(2, L2)
    with pytest.raises(InputError, match="norm l2"):
        load_attack("torchattacks-pgdl2").check(2, LINF)
    step = {"relative_step": None, "step_size": 1.0, "step_unit": "intensity"}
    with pytest.raises(InputError, match="steps in intensity and the threat model is in HU"):
        load_attack("torchattacks-bim", **step).check(2, LINF)


def test_a_missing_library_is_one_sentence(segmenter, volume, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(InputError, match=r"torchattacks is not installed; run: pip install 'robust3d\[attacks\]'"):
        load_attack("torchattacks-fgsm")(segmenter, volume, LINF)


def test_cards_import_neither_library(tmp_path) -> None:
    code = "import sys, robust3d.attacks.cards; assert not {'torchattacks', 'art'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=_environment(tmp_path))


def test_nothing_is_written_into_the_home_folder(tmp_path) -> None:
    code = "from robust3d.attacks.adapters.libraries import load; load('torchattacks')"
    subprocess.run([sys.executable, "-c", code], check=True, env=_environment(tmp_path))
    assert not list(tmp_path.iterdir())


def _environment(home) -> dict[str, str]:
    return os.environ | {"HOME": str(home), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
