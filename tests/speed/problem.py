# SPDX-License-Identifier: Apache-2.0
"""One whole-volume gradient, as robust3d computes it and as a user would without it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torchattacks
from monai.inferers import sliding_window_inference
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from robust3d.networks.folding import channels_last, inference_copy
from robust3d.networks.resdsn import ResDSN
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import unit_window
from robust3d.segment.pipeline import Mode
from robust3d.segment.precision import Precision
from robust3d.segment.segmenter import Segmenter


@dataclass(frozen=True)
class Problem:
    """Cross entropy of the fused logits of a random ResDSN on a random volume; windows overlap by half.

    Parameters
    ----------
    width : int
        Channels of the network's first level.
    window : int
        Edge of a window, voxels.
    shape : (int, int, int)
        Volume, voxels.
    """

    width: int
    window: int
    shape: tuple[int, int, int]

    @property
    def windows(self) -> int:
        """Number of windows."""
        return len(overlap(0.5).corners(self.shape, (self.window,) * 3))

    @property
    def batch(self) -> int:
        """Windows a pass, the same for all contenders."""
        return max(1, min(8, 2 * (64 // self.window) ** 3))

    @property
    def graph_gigabytes(self) -> float:
        """Estimate of what autograd keeps for all windows, GB: 18 activations of the first level a window."""
        return self.windows * 18 * self.width * self.window**3 * 4 / 1e9

    @cached_property
    def network(self) -> nn.Module:
        """As a user has it: eval mode, float32, nothing frozen or folded."""
        torch.manual_seed(0)
        network = ResDSN(width=self.width, deep_supervision=False)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm3d):
                # As trained statistics are, not 0 and 1.
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
        return network.eval()

    @cached_property
    def image(self) -> Tensor:
        """Values within [0, 1], so that truncation changes nothing."""
        return 0.1 + 0.8 * torch.rand(self.shape, generator=torch.Generator().manual_seed(1))

    @cached_property
    def label(self) -> Tensor:
        """Background and foreground, int64."""
        return (self.image > 0.6).long()

    def segmenter(self, precision: Precision) -> Segmenter:
        """Return robust3d's pipeline, the network prepared as ``load_model`` does."""
        return Segmenter.from_network(
            channels_last(inference_copy(self.network)),
            window=self.window,
            grid=overlap(0.5),
            intensity=unit_window(0.0, 1.0),
            fusion="logits",
            window_batch=self.batch,
            precision=precision,
        )

    def ours(self, segmenter: Segmenter, mode: Mode) -> Tensor:
        """Return the gradient by robust3d."""
        return segmenter.loss_gradient(self.image, self.label, "ce", mode)[1]

    def fused_logits(self, volume: Tensor, network: nn.Module | None = None, *, recompute: bool = False) -> Tensor:
        """Return MONAI's fused logits ``(1, K, D1, D2, D3)`` of ``volume`` ``(1, 1, D1, D2, D3)``."""
        predictor = network or self.network

        def recomputed(windows: Tensor) -> Tensor:
            logits: Tensor = checkpoint(predictor, windows, use_reentrant=False)
            return logits

        return sliding_window_inference(
            volume, (self.window,) * 3, self.batch, recomputed if recompute else predictor, overlap=0.5
        )

    def autograd(self, *, recompute: bool = False, parameters: bool = True) -> Tensor:
        """Return the gradient by autograd through MONAI's sliding window, all windows in one graph.

        ``parameters``: by ``loss.backward()``, which differentiates the weights as well; else for the volume alone.
        """
        volume = self.image[None, None].clone().requires_grad_(True)
        loss = cross_entropy(self.fused_logits(volume, recompute=recompute), self.label[None])
        if not parameters:
            return torch.autograd.grad(loss, volume)[0][0, 0]
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        assert volume.grad is not None
        return volume.grad[0, 0]

    def window_loop(self) -> Tensor:
        """Return the window mean by the plain loop: one window at a time, ``loss.backward()``, add, divide."""
        total, count = torch.zeros(self.shape), torch.zeros(self.shape)
        for corner in overlap(0.5).corners(self.shape, (self.window,) * 3):
            place = tuple(slice(start, start + self.window) for start in corner)
            window = self.image[place][None, None].clone().requires_grad_(True)
            self.network.zero_grad(set_to_none=True)
            cross_entropy(self.network(window), self.label[place][None]).backward()
            assert window.grad is not None
            total[place] += window.grad[0, 0]
            count[place] += 1
        return total / count

    def torchattacks_fgsm(self) -> Tensor:
        """Return torchattacks' FGSM through the full graph, shape (1, 1, D1, D2, D3)."""
        # torchattacks gives back the mode that it was handed; train mode would change the network for all contenders.
        attack = torchattacks.FGSM(_Whole(self).eval(), eps=0.03)
        attacked: Tensor = attack(self.image[None, None], self.label[None])
        return attacked


class _Whole(nn.Module):
    """A volume to its fused logits, what torchattacks takes for a classifier."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.network = problem.network
        self.problem = problem

    def forward(self, volume: Tensor) -> Tensor:
        return self.problem.fused_logits(volume, self.network)
