# SPDX-License-Identifier: Apache-2.0
"""How near the network is to the machine's matrix products, and what the window loop adds to it."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from robust3d.segment.network import dtype_of

from .contest import Figure, run_contest
from .problem import Problem


def network_gradient(network: nn.Module, windows: Tensor) -> Tensor:
    """Return the gradient of the sum of the logits: forward and backward to the input, nothing else."""
    inputs = windows.detach().requires_grad_(True)
    logits = network(inputs)
    return torch.autograd.grad(logits, inputs, torch.ones_like(logits))[0]


def operations(network: nn.Module, windows: Tensor) -> int:
    """Return the floating-point operations of forward and backward to the input, counted on the network's own layers.

    Not on those of a copy for inference, some of which the counter does not know.
    """
    shadow = copy.deepcopy(network).requires_grad_(False).to("meta")
    inputs = torch.empty(windows.shape, device="meta", requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        # By ``backward``: the counter does not know ``torch.autograd.grad``.
        shadow(inputs).sum().backward()
    return int(counter.get_total_flops())


def measure(width: int, window: int, *, rounds: int, clock: str) -> dict[str, object]:
    """Time matrix products of the shape of a 3x3x3 convolution of the second level, the network, and the loop."""
    # Eight windows, so whole batches.
    problem = Problem(width, window, (3 * window // 2,) * 3)
    segmenter = problem.segmenter("fast")
    network = segmenter.differentiated
    assert isinstance(network, nn.Module)
    dtype = dtype_of(network, torch.float32)
    batch = torch.rand(problem.batch, window, window, window, 1).movedim(-1, 1).to(dtype)
    work = operations(problem.network, batch)
    rows, inner, columns = problem.batch * (window // 2) ** 3, 27 * 2 * width, 2 * width
    left, right = torch.rand(rows, inner).to(dtype), torch.rand(inner, columns).to(dtype)
    repeats = max(1, round(work / (2 * rows * inner * columns)))
    share = repeats * 2 * rows * inner * columns / work

    def products() -> None:
        for _ in range(repeats):
            torch.mm(left, right)

    def all_windows() -> None:
        for _ in range(problem.windows // problem.batch):
            network_gradient(network, batch)

    result = run_contest(
        {
            "products": products,
            "one batch": partial(network_gradient, network, batch),
            "network": all_windows,
            "loop": partial(problem.ours, segmenter, "window_mean"),
        },
        [
            Figure("matrix products", "products", "one batch", True),
            Figure("loop / network", "loop", "network", True, higher_is_better=False),
        ],
        rounds=rounds,
        clock=clock,
    )
    ratios = result["ratios"]
    assert isinstance(ratios, dict)
    # Both per operation: the products do `share` of the network's.
    products_to_network = ratios.pop("matrix products")
    fraction = {key: round(products_to_network[key] / share, 4) for key in ("median", "least", "largest")}
    ratios["fraction of the matrix-product rate"] = fraction | {"low_precision": True, "higher_is_better": True}
    return result | {"gigaflop_per_window": round(work / problem.batch / 1e9, 2), "dtype": str(dtype)}
