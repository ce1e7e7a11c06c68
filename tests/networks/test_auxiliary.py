# SPDX-License-Identifier: Apache-2.0
"""Auxiliary heads against their layers one after the other."""

import copy

import pytest
import torch
from torch import nn

from robust3d.networks.auxiliary import AuxiliaryHead


@pytest.mark.parametrize("channels", [(8, 4), (12, 8, 4)])
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_the_head_is_its_layers_in_order(channels, classes) -> None:
    torch.manual_seed(0)
    head = AuxiliaryHead(*channels, classes=classes).double()
    layers = nn.Sequential(*copy.deepcopy(list(head)))
    features = torch.randn(2, channels[0], 3, 4, 5, dtype=torch.float64)
    results = []
    for module in (head, layers):
        given = features.clone().requires_grad_()
        logits = module(given)
        (logits**3).sum().backward()
        results.append([logits.detach(), given.grad, *(parameter.grad for parameter in module.parameters())])
    assert results[0][0].shape == (2, classes, *(n * 2 ** (len(channels) - 1) for n in (3, 4, 5)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
