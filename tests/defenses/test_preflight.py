# SPDX-License-Identifier: Apache-2.0
"""A slip anywhere in a card is told before cases are read and steps are taken."""

from pathlib import Path

import pytest
import torch

from robust3d.defenses.preflight import check_training
from robust3d.defenses.processes import Processes
from robust3d.defenses.recipe import Recipe
from robust3d.foundation.errors import InputError
from robust3d.networks.resdsn import ResDSN
from robust3d.networks.weights import save_weights
from tests.defenses.test_training import no_zoo, quiet, start


def check(recipe: Recipe, out: Path, *, weights: Path | None = None, processes: int = 1) -> None:
    find = no_zoo if weights is None else lambda model, stage: weights
    check_training(recipe, out, find_weights=find, device=torch.device("cpu"), processes=Processes(count=processes))


def with_fine(recipe: Recipe, **changes: object) -> Recipe:
    return recipe.model_copy(update={"fine": recipe.fine.model_copy(update=changes)})


def test_a_card_that_fits_passes(tmp_path, make_recipe) -> None:
    check(make_recipe(fine=True), tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 20}, r"stage fine: window \(20,\) does not fit the network: each edge must be a multiple of 8"),
        ({"start": "none/coarse"}, "stage fine: no zoo here: none/coarse"),
        ({"batch": 3}, "stage fine: a batch of 3 windows in 1 part cannot be shared equally by 2 processes"),
    ],
)
def test_a_slip_in_the_fine_stage(tmp_path, make_recipe, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        check(with_fine(make_recipe(fine=True), **changes), tmp_path, processes=2)


def test_a_window_of_use_that_does_not_fit(tmp_path, make_recipe) -> None:
    recipe = make_recipe(fine=True)
    recipe = recipe.model_copy(update={"deploy": recipe.deploy.model_copy(update={"fine_window": 20})})
    with pytest.raises(InputError, match=r"stage fine: window \(20,\)"):
        check(recipe, tmp_path)


def test_starting_weights_of_another_network(tmp_path, make_recipe) -> None:
    path = tmp_path / "wide.safetensors"
    save_weights(ResDSN(width=4), path)
    recipe = with_fine(make_recipe(fine=True), start="wide/coarse")
    with pytest.raises(InputError, match=r"stage fine: layer 'conv1.0.weight' has shape \(4, 1, 3, 3, 3\)"):
        check(recipe, tmp_path, weights=path)


def test_a_checkpoint_of_another_card(tmp_path, cases, make_recipe) -> None:
    start(make_recipe(), tmp_path, cases).run_stage("coarse", quiet)
    check(make_recipe(), tmp_path)
    with pytest.raises(InputError, match=r"stage coarse: .* coarse.batch = 2, now 4; give another --out"):
        check(make_recipe(batch=4), tmp_path)


@pytest.mark.parametrize(("name", "window", "fits"), [("monai:SegResNet", 12, 16), ("monai:DynUNet", 12, 16)])
def test_a_window_that_a_network_of_monai_does_not_take(tmp_path, make_recipe, name, window, fits) -> None:
    pytest.importorskip("monai")
    options: dict[str, object] = {"blocks_down": [1, 1, 1, 1], "init_filters": 8}
    if name == "monai:DynUNet":
        options = {"kernel_size": [3] * 4, "strides": [1, 2, 2, 2], "upsample_kernel_size": [2] * 3, "filters": [2] * 4}
    network = {"name": name, "options": options}
    stage = {"auxiliary_weights": []}
    check(make_recipe(network=network, window=fits, **stage), tmp_path)
    with pytest.raises(InputError, match=f"stage coarse: .*{window}"):
        check(make_recipe(network=network, window=window, **stage), tmp_path)
