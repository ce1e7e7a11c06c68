# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.speed``: measure, write docs/speed.json and docs/speed.md; ``--smoke``: compare with them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from .contest import CLOCKS
from .gate import failures
from .report import write_report
from .suite import SECTIONS, SMOKE, run_suite

DOCS = Path(__file__).parents[2] / "docs"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.speed", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a minute: compare with the committed ratios")
    parser.add_argument("--section", action="append", choices=list(SECTIONS), help="only this one; repeatable")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is there already")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (5)")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="wall, or cpu on a busy machine")
    parser.add_argument("--threads", type=int, default=None, help="torch's threads (its default)")
    chosen = parser.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    committed = DOCS / "speed.json"
    if chosen.smoke:
        if not committed.exists():
            _say(
                f"{committed} is missing, so there is nothing to compare with; run python -m tests.speed and commit it"
            )
            return 2
        found = run_suite(SMOKE, None, rounds=3, clock=chosen.clock, fresh=True, say=_say)
        fallen, skipped = failures(found, json.loads(committed.read_text()))
        _say("".join(f"not compared: {name}\n" for name in skipped) + "".join(f"FAILED {line}\n" for line in fallen))
        return 1 if fallen else 0
    sections = {name: SECTIONS[name] for name in chosen.section or SECTIONS}
    results = run_suite(sections, committed, rounds=chosen.rounds, clock=chosen.clock, fresh=chosen.fresh, say=_say)
    write_report(results, DOCS)
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
