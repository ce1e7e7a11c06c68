# SPDX-License-Identifier: Apache-2.0
"""Each adversary against its formula, and what all of them promise: bounds, determinism, a network left as it was."""

import copy
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robust3d.defenses.adversary import Adversary, Step
from robust3d.defenses.batch import Batch
from robust3d.defenses.learner import Learner, supervised_loss
from robust3d.networks.folding import inference_copy
from robust3d.networks.resdsn import ResDSN
from tests.defenses.conftest import ADVERSARIES, adversary_section

EPSILON, VALID = 10.2, (-100.0, 240.0)


class Linear(nn.Module):
    """Logits (0, slope x + shift) voxel by voxel."""

    def __init__(self, slope: float, shift: float) -> None:
        super().__init__()
        self.slope, self.shift = nn.Parameter(torch.tensor(slope)), nn.Parameter(torch.tensor(shift))

    def forward(self, windows: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(windows), self.slope * windows + self.shift], dim=1)


@dataclass(frozen=True)
class Recorder(Learner):
    """Keeps the windows that it is trained on, and counts passes with a gradient."""

    images: list[Tensor] = field(default_factory=list)

    def supervised(self, batch: Batch, image: Tensor) -> tuple[Tensor, Tensor]:
        self.images.append(image.detach().clone())
        return super().supervised(batch, image)

    def logits(self, batch: Batch, image: Tensor) -> Tensor:
        self.images.append(image.detach().clone())
        return super().logits(batch, image)


@pytest.fixture
def batch() -> Batch:
    """Two windows in the valid range, some voxels at its ends; statistics that differ by window."""
    random = torch.Generator().manual_seed(5)
    image = (torch.rand(2, 1, 8, 8, 8, generator=random) * 400 - 130).clamp(*VALID)
    label = torch.randint(0, 2, (2, 8, 8, 8), generator=random)
    offset, scale = torch.tensor([40.0, 20.0]), torch.tensor([90.0, 110.0])
    return Batch(image, label, offset.view(-1, 1, 1, 1, 1), scale.view(-1, 1, 1, 1, 1))


def step(adversary: Adversary, learner: Learner, batch: Batch, *, strength: float = 1.0, seed: int = 0) -> Step:
    generator = torch.Generator().manual_seed(seed)
    return Step(learner, batch, adversary.threat(VALID, strength), strength, generator)


@pytest.fixture
def adversary(make_recipe):
    def build(algorithm: str, **changes: object) -> Adversary:
        return make_recipe(adversary=adversary_section(algorithm, **changes)).adversary

    return build


def learner(network: nn.Module, **options: object) -> Recorder:
    weights = (0.2, 0.4) if hasattr(network, "forward_supervised") else ()
    return Recorder(network, auxiliary_weights=weights, loss="ce", **options)


def descend(network: nn.Module, objectives, rate: float = 0.05) -> list[float]:
    """Plain gradient descent, in place of the engine."""
    values = []
    for objective in objectives:
        network.zero_grad()
        objective.backward()
        values.append(objective.item())
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= rate * parameter.grad
    return values


def test_fast_is_its_closed_form_on_a_linear_network(batch, adversary) -> None:
    """The cross entropy rises with x where the label is 0 and falls where it is 1, for a positive slope."""
    found = adversary("fast").attacked(step(adversary("fast"), learner(Linear(2.0, 0.3)), batch, seed=7))
    uniform = EPSILON * (2 * torch.rand(batch.image.shape, generator=torch.Generator().manual_seed(7)) - 1)
    start = (batch.image + uniform).clamp(*VALID) - batch.image
    rising = 1 - 2 * batch.label[:, None]
    expected = (batch.image + (start + 1.25 * EPSILON * rising).clamp(-EPSILON, EPSILON)).clamp(*VALID)
    torch.testing.assert_close(found, expected)


def test_trades_is_its_closed_form_on_a_linear_network(batch, adversary) -> None:
    """The divergence of two voxel-wise predictions grows with their distance, so the attack goes on as it started."""
    beta, slope, shift = 2.5, 2.0, 0.3
    trades = adversary("trades", beta=beta, steps=2, step_size=3.4)
    (found,) = trades.objectives(step(trades, learner(Linear(slope, shift)), batch, seed=7))
    noise = torch.randn(batch.image.shape, generator=torch.Generator().manual_seed(7)).numpy()
    image = batch.image.numpy()
    start = np.clip(image + 0.001 * 255 / 8 * EPSILON * noise, *VALID) - image
    moved = np.clip(image + start + 2 * 3.4 * np.sign(start), *VALID)

    def foreground(x: np.ndarray) -> np.ndarray:
        z = (x.astype(np.float64) - batch.offset.numpy()) / batch.scale.numpy()
        return 1 / (1 + np.exp(-(slope * z + shift)))

    p, q = foreground(image), foreground(moved)
    entropy = -np.log(np.where(batch.label.numpy()[:, None] == 1, p, 1 - p)).mean()
    divergence = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean()
    assert divergence > 1e-4
    assert found.item() == pytest.approx(entropy + beta * divergence, rel=1e-5)


def test_trades_differentiates_both_predictions(batch, adversary) -> None:
    """One voxel, two classes: by hand for d/dshift of CE + beta KL, with attacked windows held fixed."""
    network = Linear(1.0, 0.0)
    voxel = Batch(torch.tensor([50.0]).view(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1, dtype=torch.int64),
                  torch.zeros(1, 1, 1, 1, 1), torch.full((1, 1, 1, 1, 1), 100.0))  # fmt: skip
    trades = adversary("trades", beta=3, epsilon=40, step_size=40, steps=1)
    at = step(trades, learner(network), voxel)
    (objective,) = trades.objectives(at)
    objective.backward()
    moved = at.learner.images[-1].item()
    p, q = (1 / (1 + math.exp(-x / 100)) for x in (50.0, moved))
    assert abs(moved - 50) == pytest.approx(40, abs=1e-4)
    # d CE = p - 1; d KL through q is q - p; through p it is p (1 - p) (logit p - logit q).
    expected = p - 1 + 3 * (q - p + p * (1 - p) * (50 - moved) / 100)
    assert network.shift.grad.item() == pytest.approx(expected, rel=1e-4)


def test_segpgd_is_equation_5_step_by_step(batch, adversary) -> None:
    torch.manual_seed(0)
    network, steps, size = nn.Conv3d(1, 2, 3, padding=1), 4, 3.4
    segpgd = adversary("segpgd", steps=steps, step_size=size)
    found = segpgd.attacked(step(segpgd, learner(network), batch, seed=7))
    uniform = EPSILON * (2 * torch.rand(batch.image.shape, generator=torch.Generator().manual_seed(7)) - 1)
    attacked = (batch.image + uniform).clamp(*VALID)
    for t in range(1, steps + 1):
        attacked.requires_grad_(True)
        logits = network((attacked - batch.offset) / batch.scale)
        right = logits.argmax(dim=1) == batch.label
        assert right.any()
        assert not right.all()
        voxels = cross_entropy(logits, batch.label, reduction="none")
        share = (t - 1) / (2 * steps)
        loss = ((1 - share) * voxels[right].sum() + share * voxels[~right].sum()) / voxels.numel()
        (gradient,) = torch.autograd.grad(loss, attacked)
        moved = attacked.detach() + size * gradient.sign()
        attacked = (batch.image + (moved - batch.image).clamp(-EPSILON, EPSILON)).clamp(*VALID)
    # A gradient within rounding of 0 may take the other sign.
    assert ((found - attacked).abs() < 1e-3).float().mean() > 0.999


@pytest.mark.parametrize("replays", [1, 3])
def test_free_is_fgsm_training_whose_gradient_serves_twice(batch, adversary, replays) -> None:
    torch.manual_seed(0)
    network = ResDSN(width=2)
    twin = copy.deepcopy(network)
    free = adversary("free", replays=replays)
    values = descend(network, free.objectives(step(free, learner(network), batch)))

    frozen = inference_copy(twin)
    clean = batch.image.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cross_entropy(frozen((clean - batch.offset) / batch.scale), batch.label), clean)
    expected = []
    for _ in range(replays):
        moved = (clean.detach() + EPSILON * gradient.sign() - batch.image).clamp(-EPSILON, EPSILON)
        clean = (batch.image + moved).clamp(*VALID).requires_grad_(True)
        loss = supervised_loss(twin, (clean - batch.offset) / batch.scale, batch.label, (0.2, 0.4))
        (gradient,) = torch.autograd.grad(loss, clean, retain_graph=True)
        expected += descend(twin, [loss])
    assert values == pytest.approx(expected, rel=1e-4)
    for found, other in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, other, rtol=1e-3, atol=1e-5)


def test_noise_has_its_standard_deviation_and_keeps_to_the_range(batch, adversary) -> None:
    noise = adversary("noise", sigma=5)
    changes = []
    for seed in range(20):
        noisy = noise.attacked(step(noise, learner(Linear(1.0, 0.0)), batch, strength=0.5, seed=seed))
        changes.append((noisy - batch.image)[(batch.image - 70).abs() < 150])
    assert torch.cat(changes).std().item() == pytest.approx(2.5, rel=0.03)
    assert torch.cat(changes).mean().item() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("strength", [0.1, 1.0])
@pytest.mark.parametrize("algorithm", ADVERSARIES)
def test_windows_stay_in_ball_and_range(batch, adversary, algorithm, strength, precision) -> None:
    torch.manual_seed(0)
    network = ResDSN(width=2)
    settings = adversary(algorithm)
    trained = learner(network, precision=precision)
    values = descend(network, settings.objectives(step(settings, trained, batch, strength=strength)))
    assert all(map(math.isfinite, values))
    assert len(values) == (3 if algorithm == "free" else 1)
    attacked = [image for image in trained.images if not torch.equal(image, batch.image)]
    assert len(attacked) == len(values)
    for image in attacked:
        assert VALID[0] <= image.min() <= image.max() <= VALID[1]
        if algorithm != "noise":
            change = (image - batch.image).abs().max().item()
            assert 0.1 * EPSILON * strength < change <= EPSILON * strength + 1e-4


@pytest.mark.parametrize("algorithm", ADVERSARIES)
def test_the_attack_leaves_the_network_as_it_was_and_follows_its_seed(batch, adversary, algorithm) -> None:
    torch.manual_seed(0)
    network = ResDSN(width=2).train()
    before = copy.deepcopy(network.state_dict())
    settings = adversary(algorithm)
    made = [settings.attacked(step(settings, learner(network), batch, seed=seed)) for seed in (0, 0, 1)]
    assert network.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(made[0], made[1])
    # The first perturbation of Free has no random start.
    assert torch.equal(made[0], made[2]) is (algorithm == "free")


@pytest.mark.parametrize("algorithm", ADVERSARIES)
def test_the_cost_is_the_number_of_passes(batch, adversary, algorithm) -> None:
    torch.manual_seed(0)
    network, counted = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1)), []
    # A frozen copy keeps the hook.
    network.register_forward_hook(lambda *_: counted.append(torch.is_grad_enabled()))
    settings = adversary(algorithm)
    updates = len(descend(network, settings.objectives(step(settings, learner(network), batch))))
    assert sum(counted) / updates == pytest.approx(settings.passes)
    assert counted.count(False) == (algorithm == "trades")
