# SPDX-License-Identifier: Apache-2.0
"""Whether results can be compared with a baseline: everything but the model must be the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from robust3d.benchmarks.cell import CLEAN
from robust3d.benchmarks.results import ResultCell, Results
from robust3d.foundation.errors import InputError

_SHOWN = 5
"""Names in a sentence; the rest is counted."""

_ABSENT = object()


class NotComparableError(InputError):
    """Results and baseline cannot be compared.

    Parameters
    ----------
    problems : iterable of str
        Each a clause without a full stop.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} reasons: " if len(self.problems) > 1 else ""
        super().__init__(f"cannot compare: {count}{'; '.join(self.problems)}")


def problems(baseline: Results, results: Results) -> list[str]:
    """Return everything that forbids the comparison, a clause each; empty if nothing does."""
    if baseline.path.samefile(results.path):
        return [f"baseline and results are the same file {results.path}"]
    found = [*_incomplete(baseline), *_missing(baseline, results)]
    one, other = baseline.first, results.first
    found += [f"threat model: {change}" for change in _changes(one.threat, other.threat)]
    found += _changes({"seed": one.seed}, {"seed": other.seed})
    found += _other_volumes(baseline, results)
    found += _other_attacks(baseline, results)
    return found


def notes(baseline: Results, results: Results) -> list[str]:
    """Return what may differ but should be known to whoever reads the verdict, a sentence each."""
    one, other = baseline.first, results.first
    found = _changes({"benchmark": one.benchmark}, {"benchmark": other.benchmark})
    for model in baseline.models:
        one, other = (each.cells_of(model)[0] for each in (baseline, results))
        changes = _changes(one.settings.pipeline, other.settings.pipeline)
        found += [f"pipeline of {model}: {change}" for change in changes]
        if not changes and one.model_sha256 == other.model_sha256:
            found.append(f"{model} has the weights and the pipeline of the baseline")
    found += [f"environment: {change}" for change in _changes(baseline.first.environment, results.first.environment)]
    return found


def _incomplete(baseline: Results) -> Iterator[str]:
    # One table of cases and rows needs every case in every row.
    cases = dict.fromkeys(cell.case for cell in baseline.cells.values())
    for (model, attack), own in baseline.rows.items():
        lacking = [case for case in cases if case not in own]
        if lacking:
            yield f"the baseline itself is not complete: it lacks {_names(lacking)} of {attack} on {model}"


def _missing(baseline: Results, results: Results) -> Iterator[str]:
    for holder, lacking, sentence in (
        (baseline, results, "the results lack {}, which the baseline has"),
        (results, baseline, "the results have {}, which the baseline lacks"),
    ):
        for model in holder.models:
            if model not in lacking.models:
                yield sentence.format(f"model {model}")
                continue
            for attack in holder.attacks(model):
                others = set(lacking.rows.get((model, attack), ()))
                if not others:
                    yield sentence.format(f"{attack} on {model}")
                    continue
                cases = [case for case in holder.rows[model, attack] if case not in others]
                if cases:
                    yield sentence.format(f"{_names(cases)} of {attack} on {model}")


def _other_volumes(baseline: Results, results: Results) -> Iterator[str]:
    one, other = ({cell.case: cell.volume_sha256 for cell in each.cells.values()} for each in (baseline, results))
    changed = [case for case, volume in one.items() if other.get(case, volume) != volume]
    if changed:
        case = changed[0]
        (change,) = _changes({"volume_sha256": one[case][:12]}, {"volume_sha256": other[case][:12]})
        yield f"{_names(changed)}: other data ({change} for {case})"


def _other_attacks(baseline: Results, results: Results) -> Iterator[str]:
    """Yield each change once an attack, with the models that it is found on."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for key, cell in baseline.cells.items():
        if key in results.cells:
            for change in _changes(_crafting(cell), _crafting(results.cells[key])):
                found.setdefault((cell.attack, change), {})[cell.model] = None
    for (attack, change), models in found.items():
        yield f"{attack} on {', '.join(models)}: {change}"


def _crafting(cell: ResultCell) -> dict[str, Any]:
    """Return what must be the same for two cells to be under the same attack and counted alike."""
    content: dict[str, Any] = {"classes": ", ".join(sorted(cell.classes)), "bounded": cell.bounded}
    content["settings.attack"] = cell.settings.attack
    if cell.attack != CLEAN:
        # Gradients of lower precision are a weaker attack. Cells from before this setting had only float32.
        leaves = leaves_of(cell.settings.pipeline).items()
        precisions = {value for key, value in leaves if key.split(".")[-1] == "gradients"}
        content["gradients"] = ", ".join(sorted(map(str, precisions))) or "float32"
    return content


def _changes(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return "KEY is VALUE in the baseline and VALUE in the results" for every leaf that differs."""
    leaves = leaves_of(one), leaves_of(other)
    found = []
    for key in dict.fromkeys([*leaves[0], *leaves[1]]):
        values = [each.get(key, _ABSENT) for each in leaves]
        if values[0] != values[1]:
            shown = ["absent" if value is _ABSENT else _text(value) for value in values]
            found.append(f"{key} is {shown[0]} in the baseline and {shown[1]} in the results")
    return found


def leaves_of(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted key."""
    leaves: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            leaves |= leaves_of(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _names(cases: list[str]) -> str:
    more = f" and {len(cases) - _SHOWN} more" if len(cases) > _SHOWN else ""
    return f"case{'s' if len(cases) > 1 else ''} {', '.join(cases[:_SHOWN])}{more}"
