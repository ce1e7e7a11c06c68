# SPDX-License-Identifier: Apache-2.0
"""Early warnings, from the validations of a run so far: collapse to background and catastrophic overfitting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_COLLAPSED = 3
"""Validations in a row without predicted foreground; a network that starts at random may need one or two."""

_MARGIN = 0.05
"""Change of a DSC, from 0 to 1, that is more than the noise of fixed validation windows."""


def find_warnings(history: Sequence[Mapping[str, float]]) -> tuple[str, ...]:
    """Return what is wrong after the last validation, a sentence each.

    Parameters
    ----------
    history : sequence of mapping
        Entries of ``Progress.history``; DSC from 0 to 1. An entry without a figure says nothing about it.
    """
    return tuple(text for text in (_collapse(history), _overfitting(history)) if text)


def _collapse(history: Sequence[Mapping[str, float]]) -> str:
    """All background: easy for a mean over voxels of which nearly all are background."""
    last = history[-_COLLAPSED:]
    empty = [entry.get("predicted_voxels") == 0 and entry["labelled_voxels"] > 0 for entry in last]
    if len(empty) < _COLLAPSED or not all(empty):
        return ""
    return (
        f"no foreground predicted in {_COLLAPSED} validations in a row although their windows hold it; lower the "
        "learning rate, raise centred, or attack later (warmup, clean_start)"
    )


def _overfitting(history: Sequence[Mapping[str, float]]) -> str:
    """Single-step training that has learnt to hide from its own step (Wong et al., arXiv 2001.03994, section 5)."""
    judged = [entry for entry in history if "fgsm_dsc" in entry]
    if not judged:
        return ""
    best, last = max(judged, key=lambda entry: entry["robust_dsc"]), judged[-1]
    fallen = best["robust_dsc"] - last["robust_dsc"] > _MARGIN
    if not (fallen and last["fgsm_dsc"] - best["fgsm_dsc"] > _MARGIN):
        return ""
    pgd, fgsm = (f"{100 * best[key]:.1f} to {100 * last[key]:.1f} %" for key in ("robust_dsc", "fgsm_dsc"))
    return (
        f"catastrophic overfitting: since iteration {best['iteration']:.0f} the DSC under PGD went from {pgd} and "
        f"under FGSM from {fgsm}; the best weights are kept, train on with algorithm pgd or a smaller epsilon"
    )
