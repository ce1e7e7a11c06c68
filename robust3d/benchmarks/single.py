# SPDX-License-Identifier: Apache-2.0
"""One attack on one file, with every figure measured on what was saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robust3d.attacks.attack import Attack
from robust3d.foundation.files import make_folder, write_text
from robust3d.metrics.counts import foreground_dsc
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.placed import placed
from robust3d.segment.recall import predict_clean
from robust3d.threat.model import ThreatModel
from robust3d.volume.nifti import read_volume, save_label
from robust3d.volume.volume import Volume


@dataclass(frozen=True)
class FileAttack:
    """What was saved.

    Parameters
    ----------
    figures : dict
        Content of ``result.json``: ``dsc_clean`` and ``dsc_adversarial`` from 0 to 1 (mean over foreground
        classes), ``linf`` in the volume's unit and ``distance`` in the threat's, both from the clean volume clipped to
        the valid range, ``details`` of the attack's own.
    adversarial : Volume
        The saved volume, read back.
    masks : (ndarray, ndarray)
        Predictions for the clean and for the saved volume.
    """

    figures: dict[str, Any]
    adversarial: Volume
    masks: tuple[NDArray[np.uint8], NDArray[np.uint8]]


def attack_file(
    pipeline: Pipeline, case: Volume, attack: Attack, threat: ThreatModel, *, seed: int, out: Path
) -> FileAttack:
    """Attack a case and write ``adversarial.nii.gz``, both predictions and ``result.json`` into ``out``.

    Of a case with one file a channel, ``adversarial_0000.nii.gz``, ``adversarial_0001.nii.gz``...
    """
    make_folder(out)
    pipeline = placed(pipeline, case)
    clean = predict_clean(pipeline, case.image)
    adversarial = attack(pipeline, case, threat, seed)
    saved = read_volume(adversarial.volume.save(out / "adversarial.nii.gz"))
    stored, given = torch.from_numpy(saved.image), torch.from_numpy(case.image)
    distance = threat.verify(stored, given, bounded=attack.bounded)
    prediction = pipeline.predict(saved.image)
    save_label(clean.mask, case, out / "prediction_clean.nii.gz")
    save_label(prediction.mask, case, out / "prediction_adversarial.nii.gz")
    label = case.known_label()
    figures = {
        "case": case.name,
        "attack": attack.name,
        "threat": threat.settings(),
        "seed": seed,
        "dsc_clean": foreground_dsc(clean.mask, label, pipeline.classes),
        "dsc_adversarial": foreground_dsc(prediction.mask, label, pipeline.classes),
        "linf": threat.largest_change(stored, given),
        "distance": distance,
        "details": dict(adversarial.details),
        "stored_as": ", ".join(dict.fromkeys(one.dtype for one in (saved.storage, *saved.files))),
        "gradients": adversarial.gradients,
        "queries": adversarial.queries,
        "seconds": round(adversarial.seconds, 3),
        "model_sha256": pipeline.weights_sha256,
        "pipeline": pipeline.settings(),
        "volume_sha256": case.sha256,
    }
    write_text(out / "result.json", json.dumps(figures, indent=2) + "\n")
    return FileAttack(figures, saved, (clean.mask, prediction.mask))
