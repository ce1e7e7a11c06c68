# SPDX-License-Identifier: Apache-2.0
"""Whether ratios just measured hold against the committed ones."""

from __future__ import annotations

from typing import Any

from .machine import same_kind

SLACK = 0.5
"""A ratio fails below this fraction of the committed one, further than the noise of a busy machine takes it; a cost
fails above as many times the committed one as this fits into 1."""


def failures(measured: dict[str, Any], committed: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return a sentence for every ratio that became too much worse, and the names of those that cannot be compared.

    Ratios that rest on bfloat16 are compared only between machines of the same kind.
    """
    fallen, skipped = [], []
    for section, results in measured.items():
        before = committed.get(section)
        if before is None:
            skipped.append(f"{section}: not among the committed results")
            continue
        for name, ratio in results["ratios"].items():
            known = before["ratios"].get(name)
            if known is None or (ratio["low_precision"] and not same_kind(results, before)):
                skipped.append(f"{section}: {name}")
            elif _is_worse(ratio, known["median"]):
                fallen.append(f"{section}: {name} is {ratio['median']:.2f}, committed {known['median']:.2f}")
    return fallen, skipped


def _is_worse(ratio: dict[str, Any], known: float) -> bool:
    if ratio["higher_is_better"]:
        return bool(ratio["median"] < SLACK * known)
    return bool(SLACK * ratio["median"] > known)
