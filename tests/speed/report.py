# SPDX-License-Identifier: Apache-2.0
"""The table in docs/speed.md and the figure beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robust3d.foundation.files import replacing, write_text

START, END = "<!-- speed -->", "<!-- end -->"


def write_report(results: dict[str, Any], docs: Path) -> None:
    """Replace the table between the marks of ``docs/speed.md`` and draw ``docs/speed.png``."""
    page = docs / "speed.md"
    head, _, rest = page.read_text(encoding="utf-8").partition(START)
    _, _, tail = rest.partition(END)
    write_text(page, f"{head}{START}\n{_tables(results)}{END}{tail}")
    if "growth" in results and "memory" in results:
        _draw(results, docs / "speed.png")


def _tables(results: dict[str, Any]) -> str:
    rows = ["| section | ratio | median | least to largest | load |", "|---|---|---:|---:|---:|"]
    for section, result in results.items():
        ratios = result["ratios"]
        load = f"{max(result['load']):.1f}" if "load" in result else "-"
        for name, ratio in ratios.items():
            spread = f"{ratio['least']:.2f} to {ratio['largest']:.2f}"
            rows.append(f"| {section} | {name} | **{ratio['median']:.2f}** | {spread} | {load} |")
    machines = {_machine(result) for result in results.values()}
    lines = [*rows, "", "Measured on: " + "; ".join(sorted(machines)) + ".", ""]
    lines += _checks(results)
    return "\n".join(lines) + "\n"


def _machine(result: dict[str, Any]) -> str:
    instructions = "with" if result["bf16_matrix_instructions"] else "without"
    return (
        f"{result['processor']}, {result['capability']}, {instructions} bf16 matrix instructions, "
        f"{result['threads']} thread(s) on {result['cores']} cores, torch {result['torch']}, {result['clock']} clock"
    )


def _checks(results: dict[str, Any]) -> list[str]:
    lines = []
    errors = {name: r["relative_error"] for name, r in results.items() if "relative_error" in r}
    if errors:
        columns = list(dict.fromkeys(column for row in errors.values() for column in row))
        lines.append(f"| relative error of the gradient, L2 | {' | '.join(columns)} |")
        lines.append("|---|" + "---:|" * len(columns))
        for name, row in errors.items():
            cells = [f"{row[column]:.1e}" if column in row else "-" for column in columns]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    attacked = results.get("I-FGSM", {}).get("dsc_percent")
    if attacked:
        listed = ", ".join(f"{name} {value:.2f}" for name, value in attacked.items())
        lines += [f"DSC in percent, clean and after I-FGSM by each way: {listed}.", ""]
    return lines


def _draw(results: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    time, memory = figure.subplots(1, 2)
    seconds = results["growth"]["seconds"]
    for way, label in (("exact", "robust3d, exact, fused"), ("monai", "autograd through MONAI")):
        points = [(int(key.split(", ")[1]), value) for key, value in seconds.items() if key.startswith(way)]
        time.loglog(*zip(*points, strict=True), "o-", label=label)
    time.set(xlabel="windows of 32³ (volume grows)", ylabel="seconds a gradient")
    for way, points in results["memory"]["megabytes"].items():
        label = "autograd through MONAI" if way == "monai" else f"robust3d, {way}"
        memory.loglog(*zip(*points, strict=True), "o-", label=label)
    memory.set(xlabel="windows of 32³ (volume fixed)", ylabel="extra memory, MB")
    for axes in (time, memory):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
