# SPDX-License-Identifier: Apache-2.0
"""I-FGSM on a phantom from end to end, and a plain loop of the same attack through MONAI."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robust3d.attacks.ascent import GradientAscent
from robust3d.attacks.cards import load_attack
from robust3d.data.phantoms import PhantomDataset
from robust3d.foundation.collections import Collections
from robust3d.metrics.counts import dsc
from robust3d.networks.folding import channels_last, inference_copy
from robust3d.networks.resdsn import ResDSN
from robust3d.networks.weights import load_weights
from robust3d.segment.grid import overlap
from robust3d.segment.intensity import Intensity, hu_window
from robust3d.segment.precision import Precision
from robust3d.segment.segmenter import Segmenter
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume
from robust3d.zoo.load import weight_file

from .contest import Figure, run_contest

WINDOW = 32
SHAPE = (64, 64, 48)
THREAT = ThreatModel(norm="linf", epsilon=10.2, unit="HU", valid=(-100.0, 240.0))


def measure(*, rounds: int, clock: str) -> dict[str, object]:
    """Time five steps on 18 windows around the organ with the bundled natural coarse network; compare the DSC."""
    (case, intensity), network = _case(), _network()
    card = load_attack("ifgsm")
    assert isinstance(card, GradientAscent)
    attack = card.model_copy(update={"gradient": "fused", "windows": "all"})
    pipelines = {precision: _segmenter(network, intensity, precision) for precision in ("exact", "fast")}
    runs = {"monai": partial(plain_ifgsm, network, intensity, case)}
    runs |= {name: partial(attack, pipeline, case, THREAT) for name, pipeline in pipelines.items()}
    figures = [Figure(f"monai / {name}", "monai", name, name == "fast") for name in pipelines]
    result = run_contest(runs, figures, rounds=rounds, clock=clock)

    def score(image: Tensor) -> float:
        return round(100 * float(dsc(pipelines["exact"].predict(image).mask, case.known_label())), 2)

    scores = {"clean": score(torch.from_numpy(case.image)), "monai": score(plain_ifgsm(network, intensity, case))}
    for name, pipeline in pipelines.items():
        scores[name] = score(torch.from_numpy(attack(pipeline, case, THREAT, 0).volume.image))
    return result | {"dsc_percent": scores}


def plain_ifgsm(network: nn.Module, intensity: Intensity, case: Volume) -> Tensor:
    """Return the adversarial volume: Eq. 7 by autograd through MONAI's sliding window, float32."""
    clean = torch.from_numpy(case.image).clamp(*THREAT.valid)
    label = torch.from_numpy(case.known_label()).long()[None]
    image = clean.clone()
    for _ in range(5):
        image.requires_grad_(True)
        windows = intensity.normalise(image)[None, None]
        logits = sliding_window_inference(windows, (WINDOW,) * 3, 8, network, overlap=0.5)
        network.zero_grad(set_to_none=True)
        cross_entropy(logits, label).backward()
        assert image.grad is not None
        moved = image.detach() + 3.4 * image.grad.sign()
        image = torch.minimum(torch.maximum(moved, clean - THREAT.epsilon), clean + THREAT.epsilon).clamp(*THREAT.valid)
    return image


def _segmenter(network: nn.Module, intensity: Intensity, precision: Precision) -> Segmenter:
    return Segmenter.from_network(
        channels_last(inference_copy(network)),
        window=WINDOW,
        grid=overlap(0.5),
        intensity=intensity,
        fusion="logits",
        window_batch=8,
        precision=precision,
    )


def _network() -> nn.Module:
    network = ResDSN(width=16, deep_supervision=False)
    load_weights(network, weight_file("resdsn-c2f-natural", "coarse", Collections.open()))
    return network.eval()


def _case() -> tuple[Volume, Intensity]:
    """Return the surroundings of the organ, and the intensity scale of the whole phantom."""
    dataset = PhantomDataset("test", 1)
    whole = dataset.load(dataset.names[0])
    place = []
    for axis, length in enumerate(SHAPE):
        organ = whole.known_label().nonzero()[axis]
        low = (int(organ.min()) + int(organ.max()) + 1 - length) // 2
        low = max(0, min(low, whole.shape[axis] - length))
        place.append(slice(low, low + length))
    label = whole.known_label()[tuple(place)]
    scale = hu_window(*THREAT.valid).frozen_at(torch.from_numpy(whole.image))
    part = replace(whole, image=np.ascontiguousarray(whole.image[tuple(place)]), label=np.ascontiguousarray(label))
    return part, scale
