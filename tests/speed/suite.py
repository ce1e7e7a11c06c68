# SPDX-License-Identifier: Apache-2.0
"""The sections of the suite, and the file of results that lets a stopped run go on."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from robust3d.foundation.digest import digest_file, digest_json
from robust3d.foundation.files import write_text

from . import attack, engine, gradients, growth, memory, startup, training
from .machine import describe_machine

Section = Callable[..., dict[str, object]]

SECTIONS: dict[str, Section] = {
    "gradient, width 16, window 32": partial(gradients.measure, 16, 32, every=True),
    "gradient, width 32, window 32": partial(gradients.measure, 32, 32, every=False),
    "gradient, width 16, window 64": partial(gradients.measure, 16, 64, every=False),
    "gradient, width 32, window 64": partial(gradients.measure, 32, 64, every=False),
    "network and engine, width 16, window 32": partial(engine.measure, 16, 32),
    "network and engine, width 32, window 64": partial(engine.measure, 32, 64),
    "growth": growth.measure,
    "memory": memory.measure,
    "I-FGSM": attack.measure,
    "training, natural": partial(training.measure, "natural"),
    "training, madry": partial(training.measure, "madry"),
    "start": startup.measure,
}

SMOKE: dict[str, Section] = {
    "gradient, width 16, window 32": partial(gradients.measure, 16, 32, every=False),
    "start": startup.measure,
}
"""What is compared with the committed results at every change."""


def run_suite(
    sections: dict[str, Section], path: Path | None, *, rounds: int, clock: str, fresh: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure sections and return the results, those kept from ``path`` included.

    A section is written as soon as it is measured. One that was measured before on this machine, with these settings
    and this code, is kept unless ``fresh``; so a run that was stopped goes on where it was.
    """
    results: dict[str, Any] = json.loads(path.read_text()) if path is not None and path.exists() else {}
    conditions = describe_machine() | {"clock": clock}
    state = digest_json([conditions, rounds, _code()])
    for name, section in sections.items():
        if not fresh and results.get(name, {}).get("state") == state:
            say(f"{name}: kept")
            continue
        begun = time.perf_counter()
        measured = section(rounds=rounds, clock=clock)
        gc.collect()
        took = round(time.perf_counter() - begun, 1)
        results[name] = conditions | measured | {"took_seconds": took, "state": state}
        ratios = measured["ratios"]
        assert isinstance(ratios, dict)
        found = ", ".join(f"{figure} {value['median']:.2f}" for figure, value in ratios.items())
        say(f"{name} ({took:.0f} s): {found}")
        if path is not None:
            ordered = {known: results[known] for known in SECTIONS if known in results}
            write_text(path, json.dumps(ordered, indent=1) + "\n")
    return results


def _code() -> str:
    """Return the SHA-256 of everything that decides the figures."""
    root = Path(__file__).parents[2]
    files = sorted([*(root / "robust3d").rglob("*.py"), *Path(__file__).parent.glob("*.py")])
    return digest_json([[str(file.relative_to(root)), digest_file(file)] for file in files])
