# SPDX-License-Identifier: Apache-2.0
"""Cell: one model, attack, case and seed; its identity and its record."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from robust3d.attacks.attack import Adversarial, Attack
from robust3d.foundation.digest import digest_json
from robust3d.metrics.counts import Counts, count
from robust3d.segment.cost import counting
from robust3d.segment.pipeline import Pipeline
from robust3d.segment.placed import placed
from robust3d.segment.prediction import Prediction
from robust3d.segment.recall import predict_clean
from robust3d.threat.model import ThreatModel
from robust3d.volume.volume import Volume

SCHEMA = 2
"""Version of a cell's content; part of its identity."""

CLEAN = "clean"
"""Name of the cell without an attack."""


def cell_key(
    weights_sha256: str,
    pipeline: Mapping[str, Any],
    volume_sha256: str,
    attack: Mapping[str, Any] | None,
    threat: Mapping[str, Any],
    seed: int,
) -> str:
    """Return the SHA-256 of everything that decides a cell: threat model and seed do not decide the clean one.

    Parameters
    ----------
    weights_sha256, volume_sha256 : str
        Hashes of model and case.
    pipeline, attack, threat : mapping
        Their ``settings()``; ``attack`` is ``None`` for the clean prediction.
    seed : int
        Seed of the attack.
    """
    return digest_json(_content(weights_sha256, pipeline, attack, threat, seed) | {"volume": volume_sha256})


@dataclass(frozen=True)
class Cell:
    """What is to be measured.

    Parameters
    ----------
    benchmark, model, case : str
        Names, for people; not part of the identity.
    attack : Attack or None
        ``None`` for the clean prediction.
    threat : ThreatModel
        Allowed perturbations.
    seed : int
        Seed of the attack.
    """

    benchmark: str
    model: str
    case: str
    attack: Attack | None
    threat: ThreatModel
    seed: int

    @property
    def attack_name(self) -> str:
        """Name of the attack, or ``"clean"``."""
        return CLEAN if self.attack is None else self.attack.name

    @property
    def names(self) -> dict[str, Any]:
        """What the cell is called in exports."""
        return {"benchmark": self.benchmark, "model": self.model, "attack": self.attack_name, "case": self.case}

    def key(self, pipeline: Pipeline, volume_sha256: str) -> str:
        """Return the SHA-256 of everything that decides the result."""
        return digest_json(self._content(pipeline) | {"volume": volume_sha256})

    def ticket(self, pipeline: Pipeline) -> str:
        """Return the SHA-256 of what is known before the volume is read: the case's name stands for it.

        Claims, failures and plans go by it.
        """
        return digest_json(self._content(pipeline) | {"case": self.case})

    def _content(self, pipeline: Pipeline) -> dict[str, Any]:
        attack = None if self.attack is None else self.attack.settings()
        return _content(pipeline.weights_sha256, pipeline.settings(), attack, self.threat.settings(), self.seed)

    def measure(self, pipeline: Pipeline, volume: Volume) -> dict[str, Any]:
        """Attack the case, predict the result as deployed, and return the record.

        ``dsc`` is the mean over foreground classes, from 0 to 1; ``tp`` to ``tn`` are sums over these classes
        in voxels; ``linf`` is the largest change of a voxel from the clean volume clipped to the valid range, in the
        volume's unit, ``distance`` the threat model's norm of the change, in its unit; ``forward_windows`` and
        ``gradient_windows`` are those that went through the network in attack and evaluation; ``seconds`` is wall
        time and ``peak_memory_mb`` the process's largest resident memory so far (on a GPU, the largest allocation).
        """
        began = time.perf_counter()
        pipeline = placed(pipeline, volume)
        with counting() as windows:
            adversarial = None if self.attack is None else self.attack(pipeline, volume, self.threat, self.seed)
            if adversarial is None:
                prediction = predict_clean(pipeline, volume.image)
            else:
                # What files are rounded toward is a volume of its own, and no file is written.
                adversarial = replace(adversarial, volume=replace(adversarial.volume, reference=None))
                prediction = pipeline.predict(adversarial.volume.image)
        return {
            "schema": SCHEMA,
            **self.names,
            "seed": self.seed,
            "bounded": self.attack is None or self.attack.bounded,
            "threat": self.threat.settings(),
            **_figures(prediction, volume, pipeline.classes),
            **self._cost(adversarial, volume),
            **asdict(windows),
            "peak_memory_mb": _peak_memory(pipeline.device),
            "seconds": round(time.perf_counter() - began, 3),
            "model_sha256": pipeline.weights_sha256,
            "volume_sha256": volume.sha256,
            "settings": {
                "pipeline": pipeline.settings(),
                "attack": None if self.attack is None else self.attack.settings(),
            },
            "environment": _environment(pipeline),
            "cell": self.key(pipeline, volume.sha256),
        }

    def _cost(self, adversarial: Adversarial | None, volume: Volume) -> dict[str, Any]:
        if adversarial is None:
            return {"linf": 0.0, "distance": 0.0, "gradients": 0, "queries": 0, "trace": [], "details": {}}
        moved, clean = (torch.from_numpy(one.image) for one in (adversarial.volume, volume))
        return {
            "linf": self.threat.largest_change(moved, clean),
            "distance": adversarial.distance,
            "gradients": adversarial.gradients,
            "queries": adversarial.queries,
            "trace": list(adversarial.trace),
            "details": dict(adversarial.details),
        }


def ticket_of(record: Mapping[str, Any]) -> str:
    """Return the ticket of a stored cell; see :meth:`Cell.ticket`."""
    settings = record["settings"]
    content = _content(
        record["model_sha256"], settings["pipeline"], settings["attack"], record["threat"], record["seed"]
    )
    return digest_json(content | {"case": record["case"]})


def _content(
    weights_sha256: str,
    pipeline: Mapping[str, Any],
    attack: Mapping[str, Any] | None,
    threat: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Return what decides a result beside the volume; threat model and seed do not touch a clean prediction."""
    content: dict[str, Any] = {"schema": SCHEMA, "model": weights_sha256, "pipeline": pipeline}
    return content if attack is None else content | {"attack": attack, "threat": threat, "seed": seed}


def _figures(prediction: Prediction, volume: Volume, classes: int) -> dict[str, Any]:
    label = volume.known_label()
    by_class = {index: count(prediction.mask, label, index) for index in range(1, classes)}
    total = sum(by_class.values(), Counts(0, 0, 0, 0))
    raw = [count(prediction.raw, label, index).dsc for index in by_class]
    return {
        "dsc": float(np.mean([one.dsc for one in by_class.values()])),
        "dsc_raw": float(np.mean(raw)),
        "tp": total.tp,
        "fp": total.fp,
        "fn": total.fn,
        "tn": total.tn,
        "classes": {
            str(index): {"tp": one.tp, "fp": one.fp, "fn": one.fn, "tn": one.tn} for index, one in by_class.items()
        },
        "false_positive_on_empty": any(one.false_positive_on_empty for one in by_class.values()),
        "coarse_empty": prediction.coarse_empty,
        "empty_prediction": not bool((prediction.mask > 0).any()),
    }


def _peak_memory(device: torch.device) -> int:
    """Return megabytes: the largest allocation on a GPU, else the largest resident memory of the process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) // 1_000_000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kibibytes, macOS bytes.
    return peak * (1 if sys.platform == "darwin" else 1024) // 1_000_000


def _environment(pipeline: Pipeline) -> dict[str, Any]:
    return {
        "robust3d": version("robust3d"),
        "torch": torch.__version__,
        "device": pipeline.device.type,
        "threads": torch.get_num_threads(),
    }
