# SPDX-License-Identifier: Apache-2.0
"""Each adversary against its formula, and what all of them promise: bounds, determinism, a network left as it was."""

import copy
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robust3d.defenses.adversary import Adversary, Step
from robust3d.defenses.batch import Batch
from robust3d.defenses.draws import Draws
from robust3d.defenses.learner import Learner, supervised_loss
from robust3d.networks.folding import inference_copy
from robust3d.networks.resdsn import ResDSN
from tests.defenses.conftest import ADVERSARIES, UNBOUNDED, adversary_section

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
    draws = Draws(torch.Generator().manual_seed(seed))
    return Step(learner, batch, adversary.threat(VALID, strength), strength, draws)


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


def test_each_window_of_adaptive_stops_at_its_own_epsilon(batch, adversary) -> None:
    """Step by step: sign steps of one voxel-wise network, projected on a growing ball, until the DSC has fallen."""
    settings = adversary("adaptive", steps=4, step_size=6.0, until_dsc=0.6)
    # The first window is segmented well and the second one at its brink.
    right = 2 * batch.label[:, None] - 1
    image = 70 + right * torch.tensor([60.0, 4.0]).view(2, 1, 1, 1, 1)
    clean = Batch(image, batch.label, torch.full_like(batch.offset, 70), torch.full_like(batch.scale, 100))
    found = settings.attacked(step(settings, learner(Linear(2.0, 0.0)), clean, seed=7))
    draw = 2 * torch.rand(image.shape, generator=torch.Generator().manual_seed(7)) - 1
    for window in (0, 1):
        epsilon, attacked = EPSILON / 4, image[window] + EPSILON / 4 * draw[window]
        for number in range(4):
            predicted, labelled = attacked > 70, right[window] > 0
            dsc = 2 * (predicted & labelled).sum() / (predicted.sum() + labelled.sum())
            if dsc < 0.6:
                break
            epsilon = EPSILON * (number + 1) / 4
            moved = attacked - 6.0 * right[window]
            attacked = image[window] + (moved - image[window]).clamp(-epsilon, epsilon)
        torch.testing.assert_close(found[window], attacked)
        assert epsilon == (EPSILON if window == 0 else EPSILON / 2)


def test_vaft_moves_a_table_up_the_slope_of_the_dice(batch, adversary) -> None:
    """Rounding is passed straight through, d(round(u) q)/dq = round(u) - u, and the soft Dice has a closed form."""
    settings = adversary("vaft", steps=1, step_size=3, q_max=20, block=8)
    network = Linear(2.0, 0.3)
    found = settings.attacked(step(settings, learner(network), batch))
    grey = (VALID[1] - VALID[0]) / 255
    for window in (0, 1):
        spectrum = dctn(((batch.image[window, 0] - VALID[0]) / grey).numpy().astype(np.float64), norm="ortho")
        rounding = np.round(spectrum) - spectrum

        def decode(table: np.ndarray, spectrum: np.ndarray = spectrum) -> np.ndarray:
            return idctn(np.round(spectrum / table) * table, norm="ortho") * grey + VALID[0]

        # Gradient of the soft Dice with respect to each voxel, by the closed form of a logistic function.
        start = decode(np.ones((8, 8, 8)))
        inside = (start >= VALID[0]) & (start <= VALID[1])
        x = np.clip(start, *VALID)
        z = (x - batch.offset[window].item()) / batch.scale[window].item()
        p, y = 1 / (1 + np.exp(-(2.0 * z + 0.3))), batch.label[window].numpy()
        top, bottom = 2 * (p * y).sum() + 1, p.sum() + y.sum() + 1
        slope = -(2 * y * bottom - top) / bottom**2 * p * (1 - p) * 2.0 / batch.scale[window].item() * inside
        table = np.clip(1 + 3 * np.sign(dctn(slope * grey, norm="ortho") * rounding), 1, 20)
        expected = np.clip(decode(table), *VALID)
        # A coefficient within rounding of a half, or a slope of 0, may go the other way.
        assert (np.abs(found[window, 0].numpy() - expected) < 0.05).mean() > 0.98
        assert np.abs(expected - x).max() > 1


def test_vaft_minimises_both_losses_and_the_distance_of_spectra(batch, adversary) -> None:
    settings = adversary("vaft", consistency=0.7)
    at = step(settings, learner(Linear(2.0, 0.3)), batch)
    (found,) = settings.objectives(at)
    clean, attacked = (at.learner.network(batch.normalised(image)).detach() for image in at.learner.images)
    losses = cross_entropy(clean, batch.label) + cross_entropy(attacked, batch.label)
    spectra = dctn((clean - attacked).numpy().astype(np.float64), axes=(2, 3, 4), norm="ortho")
    assert found.item() == pytest.approx(losses.item() + 0.7 * np.abs(spectra).mean(), rel=1e-5)
    assert torch.equal(at.learner.images[0], batch.image)


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
        if algorithm not in UNBOUNDED:
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
    # The first perturbation of Free and the tables of VAFT have no random start.
    assert torch.equal(made[0], made[2]) is (algorithm in ("free", "vaft"))


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
