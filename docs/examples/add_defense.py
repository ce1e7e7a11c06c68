# SPDX-License-Identifier: Apache-2.0
"""Add a defense: train every second window on a single-step attack, and attack the model that comes out.

Kurakin et al., arXiv:1611.01236, mix clean and attacked examples likewise. CONTRIBUTING.md tells how such a class
becomes an algorithm that cards can choose.
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

import robust3d as r3
from robust3d.data.phantoms import PhantomDataset
from robust3d.defenses.adversary import Adversary, Step
from robust3d.defenses.ascent import perturb
from robust3d.defenses.recipe import Recipe
from robust3d.defenses.run import Training
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.zoo.export import export_model


class Mixed(Adversary):
    """One sign step of epsilon from a uniform start for every second window; the others stay clean."""

    algorithm: Literal["mixed"] = "mixed"

    @property
    def passes(self) -> float:
        """That of the attack and that of the update."""
        return 2

    def attacked(self, step: Step) -> Tensor:
        """Return the windows to train on."""
        network, epsilon = step.learner.frozen(), step.threat.epsilon
        moved = perturb(network, step.batch, step.threat, steps=1, step_size=epsilon, draws=step.draws)
        every_second = torch.arange(len(moved), device=moved.device) % 2 == 0
        return torch.where(every_second.reshape(-1, 1, 1, 1, 1), moved, step.batch.image)


OUT = Path("runs/mixed")
SHAPE, SPACING = (48, 40, 32), (6.0, 6.0, 8.0)

# The recipe of the bundled model with the new adversary, so short that it only shows the way: a real one takes the
# card's 2,400 iterations on volumes of its own shape.
recipe = read_card(Collections.open().find("defenses", "natural"), Recipe)
short = {"iterations": 6, "batch": 4, "window": 16, "validate_every": 3, "validation_windows": 4}
deploy = {"coarse_window": 32, "fine_window": None, "fine_grid": None, "margin": None, "align": None}
recipe = recipe.model_copy(
    update={
        "adversary": Mixed(epsilon=10.2, unit="HU", warmup=0.3),
        "network": recipe.network.model_copy(update={"width": 4}),
        "coarse": recipe.coarse.model_copy(update=short),
        "fine": None,
        "deploy": recipe.deploy.model_copy(update=deploy),
    }
)


def phantoms(split: Literal["train", "validation", "test"], count: int) -> list[r3.Volume]:
    """Return the first cases of a split."""
    dataset = PhantomDataset(split, count, SHAPE, SPACING)
    return [dataset.load(name) for name in dataset.names]


training = Training(
    recipe,
    OUT,
    phantoms("train", 2),
    phantoms("validation", 1),
    find_weights=lambda model, stage: OUT / f"{stage}.safetensors",
    device=torch.device("cpu"),
)
stage = training.run_stage("coarse", lambda done, loss, validation: print(f"step {done}: loss {loss:.3f}"))
export_model(recipe, [stage], OUT / "zoo" / "mixed", name="mixed", command="python docs/examples/add_defense.py")

model = r3.load_model("mixed", device="cpu", collections=Collections.open([OUT]))
(case,) = phantoms("test", 1)
threat = r3.ThreatModel(norm="linf", epsilon=10.2, unit="HU", valid=(-100, 240))
adversarial = r3.load_attack("pgd")(model, case, threat, seed=0).volume
for name, image in (("clean", case.image), ("PGD", adversarial.image)):
    print(f"{name}: DSC {100 * r3.dsc(model.predict(image).mask, case.label):.2f} %")
