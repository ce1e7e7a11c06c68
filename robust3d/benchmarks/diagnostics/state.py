# SPDX-License-Identifier: Apache-2.0
"""Whether a model is a function of the volume: random output, batch statistics, normalisation that moves."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from robust3d.benchmarks.diagnostics.epsilon import SLACK
from robust3d.benchmarks.diagnostics.exam import Exam
from robust3d.benchmarks.diagnostics.finding import Figure, Judgement, check, percent
from robust3d.benchmarks.diagnostics.stages import behind_transforms, segmenters
from robust3d.segment.network import evaluating, window_logits
from robust3d.segment.normalised import normalised_volume
from robust3d.segment.resampled import Resampled
from robust3d.segment.segmenter import Segmenter
from robust3d.segment.windows import WindowPlan
from robust3d.volume.channels import crop, spatial_shape
from robust3d.volume.labels import IGNORE


@check(
    "output is not random",
    ok="Equal volumes give equal predictions and gradients.",
    flagged="The model draws at random: a gradient fits another draw than the one that is evaluated.",
    remedy="Take the expectation over draws in the attack (EOT, arXiv:1707.07397), or switch the draws off.",
)
def randomness(exam: Exam) -> Judgement:
    """Flag two predictions that differ in 0.1 % of the organ's size, or two gradients by 1 % of their norm.

    Float32 sums in another order differ by about 1e-6 and flip only voxels at a tie; both limits lie far above that
    and below what moves a DSC.
    """
    again = exam.pipeline.predict(exam.volume.image).mask
    flipped = np.count_nonzero(again != exam.clean.mask) / int(exam.organ.sum())
    # Gradients that are not finite are another check's finding.
    first = exam.gradient(exam.attack.loss, exam.attack.windows)[1].nan_to_num()
    second = exam.loss_gradient(exam.origin)[1].nan_to_num()
    apart = float((first - second).double().norm()) / max(float(first.double().norm()), 1e-30)
    figures = (percent("mask that differs, of the organ", flipped), percent("gradient that differs", apart))
    return Judgement(bool(flipped > 1e-3 or apart > 0.01), figures)


@check(
    "a window's answer is its own",
    ok="BatchNorm and dropout are in the state of deployment, whatever shares the batch.",
    flagged="The answer to a window depends on chance or on the others in its batch: train mode within the network.",
    remedy="Use running statistics and no dropout in the forward pass; F.dropout and F.batch_norm ignore eval().",
)
def network_state(exam: Exam) -> Judgement:
    """Flag a probability that moves by over 0.001 when a window is repeated, or shares its batch with its negative.

    The negative has other statistics for certain. Kernels for other batch sizes round differently, by about 1e-6 in
    float32 (in half precision 16 of its own steps are allowed); batch statistics and dropout move percents. That a
    module was handed over in train mode is told but right, since the pipeline sets eval mode itself.
    """
    alone = shared = 0.0
    limit, training = 1e-3, 0
    for stage in segmenters(exam.pipeline):
        window = _organ_window(stage, exam)
        first = _probabilities(stage, window[None])
        alone = max(alone, _apart(first, _probabilities(stage, window[None])))
        shared = max(shared, _apart(first, _probabilities(stage, torch.stack([window, -window]))))
        network = stage.network
        if isinstance(network, nn.Module):
            training += sum(module.training for module in network.modules())
            for parameter in network.parameters():
                limit = max(limit, 16 * torch.finfo(parameter.dtype).eps)
    figures = (
        Figure("moved when repeated", alone, "probability"),
        Figure("moved by its batch", shared, "probability"),
        Figure("handed over in train mode", training, "modules"),
    )
    return Judgement(max(alone, shared) > limit, figures)


@check(
    "normalisation leaves the attack alone",
    ok="The attack holds when the statistics are recomputed on the perturbed volume, as in deployment.",
    flagged="The attack was crafted with other statistics than it meets: the figure depends on that choice.",
    remedy="Differentiate through the statistics (statistics = 'through'), and tell which were used.",
)
def statistics(exam: Exam) -> Judgement:
    """Flag DSCs with frozen and with recomputed statistics more than 2 points apart.

    The slack is that of :data:`robust3d.benchmarks.diagnostics.epsilon.SLACK`.
    """
    exam.require_skill()
    deployed = exam.attacked
    frozen = exam.score(exam.frozen.predict(deployed.image).mask)
    figures = (percent("DSC, recomputed", deployed.dsc), percent("DSC, frozen", frozen))
    return Judgement(abs(deployed.dsc - frozen) > SLACK, figures)


def _organ_window(stage: Segmenter, exam: Exam) -> Tensor:
    """Return the normalised window of a stage's grid that holds most of the organ."""
    model, origin, label = behind_transforms(exam.pipeline), exam.origin, exam.label
    if isinstance(model, Resampled):
        origin, label = model.on_grid(exam.origin), torch.from_numpy(model.label_on_grid(exam.volume))
    plan = WindowPlan.of(spatial_shape(origin), stage.window, stage.grid)
    organ = plan.padded((label > 0) & (label != IGNORE), False)
    corner = max(plan.corners, key=lambda corner: int(organ[plan.place(corner)].sum()))
    return crop(normalised_volume(stage.intensity, plan, origin), plan.place(corner))


@torch.no_grad()
def _probabilities(stage: Segmenter, windows: Tensor) -> Tensor:
    """Return the softmax ``(K, d, h, w)`` of the first of some windows."""
    with evaluating(stage.network):
        return torch.softmax(window_logits(stage.network, windows, dtype=windows.dtype)[0], dim=0)


def _apart(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())
