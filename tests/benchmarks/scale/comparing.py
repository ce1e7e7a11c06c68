# SPDX-License-Identifier: Apache-2.0
"""What is equal in two runs of the same cells: the tables to the byte, and each cell but for what it cost."""

import json
from pathlib import Path

TABLES = ("leaderboard.csv", "leaderboard.md", "comparison.csv")
COST = ("seconds", "peak_memory_mb")


def assert_same(run: Path, serial: Path) -> None:
    for name in TABLES:
        assert (run / name).read_bytes() == (serial / name).read_bytes()
    assert _lines(run) == _lines(serial)
    assert not list((run / "claims").iterdir())
    assert not list((run / "losses").iterdir())


def _lines(run: Path) -> list[str]:
    """Return the lines of ``results.jsonl`` in their order, without cost and number of threads."""
    lines = []
    for line in (run / "results.jsonl").read_text().splitlines():
        record = json.loads(line)
        for name in COST:
            assert record.pop(name) >= 0
        record["environment"].pop("threads")
        lines.append(json.dumps(record, sort_keys=True))
    return lines
