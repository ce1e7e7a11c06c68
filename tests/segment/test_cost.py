# SPDX-License-Identifier: Apache-2.0
"""Windows are counted where they are computed."""

import torch
from torch import nn

from robust3d.segment.cost import counting
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import hu_window
from robust3d.segment.segmenter import Segmenter


def test_windows_are_counted_by_hand() -> None:
    segmenter = Segmenter.from_network(
        nn.Conv3d(1, 2, 1), window=4, grid=overlap(0.5), intensity=hu_window(-100, 240), window_batch=5
    )
    image = torch.arange(192.0).view(8, 4, 6)
    label = torch.zeros(8, 4, 6, dtype=torch.long)
    label[0] = 1
    # 3 x 1 x 2 windows, of which 1 x 1 x 2 hold foreground.
    with counting() as whole:
        segmenter.predict(image)
        with counting() as mean:
            segmenter.loss_gradient(image, label, mode="window_mean", windows="skip_background")
        with counting() as exact:
            segmenter.loss_gradient(image, label, mode="fused")
        with counting() as tiled:
            segmenter.loss_gradient(image, label, windows="tiling")
    assert (mean.forward_windows, mean.gradient_windows) == (0, 2)
    assert (exact.forward_windows, exact.gradient_windows) == (6, 6)
    # The second window of the last axis is shifted back to the edge.
    assert (tiled.forward_windows, tiled.gradient_windows) == (0, 4)
    assert (whole.forward_windows, whole.gradient_windows) == (12, 12)
