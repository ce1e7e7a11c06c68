# SPDX-License-Identifier: Apache-2.0
"""ART on whole volumes: our attacks as oracles, its traps, and what is refused."""

import inspect
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from robust3d.attacks.adapters.art import ALLOWED
from robust3d.attacks.adapters.libraries import load
from robust3d.attacks.adapters.refusals import ART
from robust3d.attacks.cards import AttackCard, load_attack
from robust3d.foundation.cards import check_card
from robust3d.foundation.errors import InputError
from robust3d.metrics.counts import dsc
from robust3d.threat.model import ThreatModel

try:
    load("art")
except InputError:
    pytest.skip("ART is not installed", allow_module_level=True)

LINF = ThreatModel(epsilon=10.7, unit="HU", valid=(-100, 240))
L2 = ThreatModel(norm="l2", epsilon=5.3, unit="RMS HU", valid=(-100, 240))
CARDS = ["fgm", "bim", "pgd", "mim"]
SAME = {"gradient": "window_mean", "windows": "all", "target": "c2f"}


pytestmark = pytest.mark.filterwarnings("error:.*:RuntimeWarning")


def small(name: str, **changes):
    steps = {} if name == "fgm" else {"steps": 3}
    return load_attack(f"art-{name}", **steps | changes)


def threats(name: str) -> list[ThreatModel]:
    return [LINF] if name == "bim" else [LINF, L2]


def clipped(volume) -> np.ndarray:
    return volume.image.clip(-100, 240)


def card(**settings):
    content = {"attack": {"name": "x", "algorithm": "art", **settings}, "reference": {"paper": ""}}
    return check_card(content, AttackCard, where="card x").attack


@pytest.fixture(params=["segmenter", "cascade"])
def pipeline(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("gradient", ["window_mean", "fused"])
def test_fgm_is_our_fgsm_bit_for_bit(pipeline, volume, gradient) -> None:
    same = SAME | {"gradient": gradient}
    ours = load_attack("fgsm", **same)(pipeline, volume, LINF)
    theirs = small("fgm", **same)(pipeline, volume, LINF)
    assert np.array_equal(ours.volume.image, theirs.volume.image)
    assert ours.trace == theirs.trace
    assert (theirs.gradients, theirs.queries) == (1, 0)
    assert theirs.details["library"].startswith("adversarial-robustness-toolbox 1")


def test_bim_is_our_ifgsm(pipeline, volume) -> None:
    step = {"relative_step": None, "step_size": 3.4, "step_unit": "HU"}
    ours = load_attack("ifgsm", **SAME)(pipeline, volume, LINF)
    theirs = small("bim", **SAME, **step, steps=5)(pipeline, volume, LINF)
    assert np.abs(ours.volume.image - theirs.volume.image).max() < 1e-4
    np.testing.assert_allclose(theirs.trace, ours.trace, rtol=1e-5)
    assert theirs.gradients == 5


@pytest.mark.parametrize("start", ["clean", "uniform"])
@pytest.mark.parametrize("threat", [LINF, replace(L2, valid=None)], ids=["linf", "l2"])
def test_pgd_is_our_pgd(segmenter, volume, threat, start) -> None:
    ours = load_attack("pgd", windows="all", steps=3, restarts=1, iterate="last", check_every=None, start=start)
    # With a valid range ART clips before it scales to an L2 ball; we clip after.
    case = replace(volume, image=clipped(volume))
    images = [attack(segmenter, case, threat).volume.image for attack in (ours, small("pgd", start=start))]
    assert np.abs(images[0] - images[1]).max() < 1e-3
    assert np.abs(images[0] - case.image).max() > 5


def test_mim_is_our_momentum(segmenter, volume) -> None:
    ours = load_attack(
        "pgd", windows="all", steps=3, restarts=1, iterate="last", check_every=None, start="clean", relative_step=0.1
    )
    ours = ours.model_copy(update={"update": "momentum", "decay": 1.0})
    images = [attack(segmenter, volume, LINF).volume.image for attack in (ours, small("mim"))]
    assert np.abs(images[0] - images[1]).max() < 1e-4


def test_a_goal_is_approached(segmenter, volume) -> None:
    erased = small("pgd", goal={"kind": "erase"}, steps=5)(segmenter, volume, replace(LINF, epsilon=40))
    before = dsc(segmenter.predict(clipped(volume)).mask, volume.label)
    assert dsc(segmenter.predict(erased.volume.image).mask, volume.label) < before
    assert {"target_dsc", "library"} <= set(erased.details)


def test_scheduled_losses_follow_the_steps(segmenter, volume) -> None:
    same = {"gradient": "fused", "windows": "all", "loss": "segpgd"}
    ours = load_attack("ifgsm", **same, steps=4)(segmenter, volume, LINF)
    step = {"relative_step": None, "step_size": 3.4, "step_unit": "HU"}
    theirs = small("bim", **same, **step, steps=4)(segmenter, volume, LINF)
    np.testing.assert_allclose(theirs.trace, ours.trace, rtol=1e-4)


@pytest.mark.parametrize("name", CARDS)
def test_epsilon_zero_is_the_identity(name, segmenter, volume) -> None:
    for threat in threats(name):
        zero = small(name)(segmenter, volume, replace(threat, epsilon=0))
        assert np.array_equal(zero.volume.image, clipped(volume))


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("storage", ["float32", "int16"])
@pytest.mark.parametrize("valid", [(-100, 240), None])
def test_bound_range_and_seed(name, segmenter, volume, storage, valid) -> None:
    attack = small(name)
    case = replace(volume, image=np.rint(volume.image))
    for base in threats(name):
        threat = replace(base, storage=storage, valid=valid)
        first, again, other = (attack(segmenter, case, threat, seed).volume.image for seed in (5, 5, 6))
        change = first.astype(np.float64) - (case.image if valid is None else clipped(case))
        size = np.sqrt((change**2).mean()) if threat.norm == "l2" else np.abs(change).max()
        assert 0.2 * threat.epsilon < size <= threat.epsilon + 1e-4
        assert valid is None or (first.min() >= -100 and first.max() <= 240)
        assert np.array_equal(first, again)
        assert np.array_equal(first, other) != (name == "pgd")


def test_the_model_is_left_alone_also_when_it_raises(segmenter, volume, capsys) -> None:
    network = segmenter.network
    network.train()
    network[3].weight.requires_grad_(False)
    attack = small("pgd")
    attack(segmenter, volume, LINF)
    with pytest.raises(InputError, match="class 9"):
        attack(segmenter, replace(volume, label=np.full(volume.shape, 9, np.uint8)), LINF)
    assert all(module.training for module in network.modules())
    assert not network[3].weight.requires_grad
    assert network[0].weight.requires_grad
    assert capsys.readouterr() == ("", "")


def test_a_gradient_of_nan_is_not_taken_for_zero(segmenter, volume, monkeypatch) -> None:
    whole = type(segmenter).loss_gradient

    def broken(self, image, *args, **options):
        value, gradient = whole(self, image, *args, **options)
        gradient[5, 5, 5] = float("nan")
        return value, gradient

    monkeypatch.setattr(type(segmenter), "loss_gradient", broken)
    with pytest.raises(InputError, match="NaN"):
        small("fgm")(segmenter, volume, LINF)


@pytest.mark.parametrize("name", sorted(ART))
def test_attacks_that_do_not_fit_are_refused(name) -> None:
    with pytest.raises(InputError, match=f"art attack '{name}' is refused: .*; use "):
        card(attack=name)


def test_every_attack_of_the_library_is_either_allowed_or_refused() -> None:
    evasion = load("art", "art.attacks.evasion")
    found = {name for name, value in vars(evasion).items() if inspect.isclass(value)}
    # ART hides one where numba is missing.
    assert found | {"BrendelBethgeAttack"} == set(ALLOWED) | set(ART)
    assert not set(ALLOWED) & set(ART)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"attack": "FastGradientMehtod"}, "did you mean 'FastGradientMethod'"),
        ({"attack": "FastGradientMethod", "steps": 3}, "has no steps"),
        ({"attack": "BasicIterativeMethod", "steps": 3}, "either step_size with step_unit, or relative_step"),
        ({"attack": "BasicIterativeMethod", "steps": 3, "relative_step": 0.1, "start": "uniform"}, "has no start"),
        ({"attack": "ProjectedGradientDescent", "steps": 3, "relative_step": 0.1}, "needs start"),
        ({"attack": "MomentumIterativeMethod", "steps": 3, "relative_step": 0.1}, "needs decay"),
        ({"attack": "FastGradientMethod", "loss": "hinge"}, "unknown loss 'hinge'"),
    ],
)
def test_impossible_settings_are_refused(settings, sentence) -> None:
    with pytest.raises(InputError, match=sentence):
        card(**settings)


def test_threat_models_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="norm linf"):
        load_attack("art-bim").check(2, L2)
    step = {"relative_step": None, "step_size": 1.0, "step_unit": "intensity"}
    with pytest.raises(InputError, match="steps in intensity and the threat model is in HU"):
        load_attack("art-bim", **step).check(2, LINF)


def test_a_missing_library_is_one_sentence(segmenter, volume, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "art", None)
    with pytest.raises(InputError, match=r"toolbox is not installed; run: pip install 'robust3d\[attacks\]'"):
        load_attack("art-fgm")(segmenter, volume, LINF)


def test_another_package_of_that_name_is_one_sentence(tmp_path) -> None:
    (tmp_path / "art").mkdir()
    (tmp_path / "art" / "__init__.py").write_text("")
    code = "from robust3d.attacks.adapters.libraries import load; load('art', 'art.estimators')"
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert "InputError: adversarial-robustness-toolbox cannot be imported (the module 'art' is another" in done.stderr


def test_importing_art_leaves_home_folder_and_log_files_alone(tmp_path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    code = """
import logging, logging.config, os, sys
log = logging.FileHandler(sys.argv[1], mode="w")
logging.getLogger("mine").addHandler(log)
configure = logging.config.dictConfig
from robust3d.attacks.adapters.libraries import load
before = dict(os.environ)
load("art", "art.attacks.evasion")
from art import config
import art.config
assert art.config is config and config.ART_DATA_PATH == os.path.expanduser("~/.art/data"), config.ART_DATA_PATH
assert os.environ == before
assert logging.config.dictConfig is configure
logging.getLogger("mine").error("still open")
"""
    environment = os.environ | {"HOME": str(home), "TMPDIR": str(temporary)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "log")], check=True, env=environment)
    assert (tmp_path / "log").read_text() == "still open\n"
    assert not list(home.iterdir())
    assert not list(temporary.iterdir())
