# SPDX-License-Identifier: Apache-2.0
import hashlib

import pytest
import torch
from safetensors.torch import load_file, save_file

from robust3d.foundation.errors import InputError
from robust3d.networks.resdsn import ResDSN
from robust3d.networks.weights import load_weights, save_weights


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    network = ResDSN(width=2)
    path = tmp_path / "a.safetensors"
    return network, path, save_weights(network, path)


def test_round_trip_in_half_precision(saved) -> None:
    network, path, sha256 = saved
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    torch.manual_seed(1)
    other = ResDSN(width=2, deep_supervision=False)
    assert load_weights(other, path, sha256=sha256) == sha256
    before, after = network.state_dict(), other.state_dict()
    assert {name for name in before if not name.startswith("aux")} == set(after)
    for name, tensor in after.items():
        assert tensor.dtype == before[name].dtype
        expected = before[name].half().float() if tensor.is_floating_point() else before[name]
        assert torch.equal(tensor, expected.to(tensor.dtype)), name


def test_auxiliary_heads_keep_what_they_have(saved) -> None:
    other = ResDSN(width=2)
    head = {name: tensor.clone() for name, tensor in other.state_dict().items() if name.startswith("aux")}
    load_weights(other, saved[1])
    assert head
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in head.items())


def test_another_hash_is_refused_and_nothing_is_loaded(saved) -> None:
    other = ResDSN(width=2)
    before = other.head.weight.clone()
    with pytest.raises(InputError, match=r"its card says 0000000000000000\.\.\."):
        load_weights(other, saved[1], sha256="0" * 64)
    assert torch.equal(other.head.weight, before)


def drop(state):
    del state["head.weight"]


def add(state):
    state["tail.weight"] = torch.zeros(1)


def bend(state):
    state["head.bias"] = torch.zeros(5)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, r"has no layer 'head.weight' of shape \(2, 2, 1, 1, 1\), which"),
        (add, r"has a layer 'tail.weight' of shape \(1,\) that the network"),
        (bend, r"layer 'head.bias' has shape \(5,\) in .* and \(2,\) in the network"),
    ],
)
def test_other_layers_are_refused(saved, damage, message) -> None:
    network, path, _ = saved
    state = load_file(path)
    damage(state)
    save_file(state, path)
    with pytest.raises(InputError, match=message):
        load_weights(network, path)


def test_another_width_names_the_first_layer(saved) -> None:
    first = next(iter(ResDSN(width=4).state_dict()))
    with pytest.raises(InputError, match=f"layer '{first}' has shape"):
        load_weights(ResDSN(width=4), saved[1])


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\xff" * 64])
def test_a_file_of_something_else(tmp_path, content) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a safetensors file") as caught:
        load_weights(ResDSN(width=2), path)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_weights(ResDSN(width=2), tmp_path / "none.safetensors")


@pytest.mark.parametrize("value", [7e4, -2e5, float("nan")])
def test_weights_beyond_half_precision_are_refused(tmp_path, value) -> None:
    network = ResDSN(width=2)
    with torch.no_grad():
        network.head.bias[1] = value
    with pytest.raises(InputError, match=rf"tensor 'head\.bias' holds {abs(value):g} .* ends at 65504"):
        save_weights(network, tmp_path / "weights.safetensors")
    assert list(tmp_path.iterdir()) == []
