# SPDX-License-Identifier: Apache-2.0
"""What a window of training takes, as docs/distributed.md says."""

import re
from pathlib import Path

import torch

from robust3d.defenses.learner import supervised_loss
from robust3d.networks.folding import channels_last
from robust3d.networks.registry import build_network
from robust3d.networks.trained import cheaper_layers

DOCUMENT = Path(__file__).parents[2] / "docs" / "distributed.md"


def held(windows: int) -> int:
    """Return the bytes that autograd keeps of a batch of 32-voxel windows at width 32 in bfloat16."""
    network = cheaper_layers(channels_last(build_network("resdsn", width=32)))
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    image = torch.randn(windows, 1, 32, 32, 32).contiguous(memory_format=torch.channels_last_3d)
    label = torch.zeros(windows, 32, 32, 32, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        loss = supervised_loss(network, image, label, (0.2, 0.4))
    assert loss.requires_grad
    return sum(sizes.values())


def test_activations_of_a_window() -> None:
    (said,) = re.findall(r"Activations take (\d+) MB a window of 64 voxels at width 32", DOCUMENT.read_text())
    # Eight times the voxels; weights are in both and cancel.
    assert abs(8 * (held(2) - held(1)) / 1e6 - int(said)) < 0.03 * int(said)
