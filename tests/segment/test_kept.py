# SPDX-License-Identifier: Apache-2.0
"""Graphs kept from the first pass: the same gradient, within their memory, whatever happens to it."""

import pytest
import torch

from robust3d.networks.folding import inference_copy
from robust3d.networks.resdsn import ResDSN
from robust3d.segment import gradient as module
from robust3d.segment import kept
from robust3d.segment.cost import counting
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import unit_window
from robust3d.segment.segmenter import Segmenter

WINDOWS = 8


@pytest.fixture
def pulled(monkeypatch) -> list[int]:
    """Bytes of every graph that is used."""
    held: list[int] = []
    pull_back = kept.Graph.pull_back

    def watched(graph: kept.Graph, cotangent: torch.Tensor) -> torch.Tensor:
        held.append(graph.held)
        return pull_back(graph, cotangent)

    monkeypatch.setattr(kept.Graph, "pull_back", watched)
    return held


def gradient(fusion: str) -> tuple[float, torch.Tensor]:
    torch.manual_seed(0)
    segmenter = Segmenter.from_network(
        inference_copy(ResDSN(width=2, deep_supervision=False)),
        window=8,
        grid=overlap(0.5),
        intensity=unit_window(0.0, 1.0),
        fusion=fusion,
        window_batch=1,
        checks=False,
    )
    image = torch.rand(12, 12, 12)
    with counting() as cost:
        result = segmenter.loss_gradient(image, (image > 0.6).long(), "dice", "fused")
    assert (cost.forward_windows, cost.gradient_windows) == (WINDOWS, WINDOWS)
    return result


@pytest.mark.parametrize("allowed", [None, 8000])
@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_kept_graphs_change_nothing(pulled, monkeypatch, fusion, allowed) -> None:
    if allowed is not None:
        monkeypatch.setattr(module, "_kept_bytes", lambda *_: allowed if fusion == "probabilities" else allowed // 2)
    value, found = gradient(fusion)
    assert 0 < len(pulled) <= WINDOWS if allowed is None else 0 < len(pulled) < WINDOWS
    monkeypatch.setattr(module, "_kept_bytes", lambda *_: 0)
    pulled.clear()
    without, expected = gradient(fusion)
    assert not pulled
    assert value == without
    assert torch.equal(found, expected)


@pytest.mark.parametrize("graphs", [0, 1, 3, 20])
def test_they_take_no_more_than_they_may(pulled, monkeypatch, graphs) -> None:
    gradient("logits")
    size = pulled[0]
    pulled.clear()
    monkeypatch.setattr(module, "_kept_bytes", lambda *_: graphs * size + size // 2)
    gradient("logits")
    assert pulled == [size] * min(graphs, WINDOWS)


def test_where_memory_runs_out_the_rest_is_computed_again(monkeypatch) -> None:
    _, expected = gradient("logits")
    pull_back = kept.Graph.pull_back
    calls: list[int] = []

    def failing(graph: kept.Graph, cotangent: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return pull_back(graph, cotangent)

    monkeypatch.setattr(kept.Graph, "pull_back", failing)
    _, found = gradient("logits")
    assert len(calls) == 2
    assert torch.equal(found, expected)
