# SPDX-License-Identifier: Apache-2.0
"""Claims, losses, the partition into shards, and what status counts, on folders made by hand."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust3d.benchmarks.cell import SCHEMA, ticket_of
from robust3d.benchmarks.scale.claims import Claims
from robust3d.benchmarks.scale.losses import Losses
from robust3d.benchmarks.scale.plans import StoredCell, StoredPlan
from robust3d.benchmarks.scale.progress import Progress, read_progress
from robust3d.benchmarks.scale.shard import Shard
from robust3d.benchmarks.store import Store
from robust3d.foundation.errors import InputError


@given(st.integers(1, 300).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size))))
def test_shards_partition_the_plan_in_order(sizes) -> None:
    size, count = sizes
    shards = [Shard(index + 1, count).places(size) for index in range(count)]
    assert [place for places in shards for place in places] == list(range(size))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/3", "1/2/3", "a/b", "1/", "1.0/2"])
def test_what_is_no_shard_is_refused(text) -> None:
    with pytest.raises(InputError, match="is not i/n"):
        Shard.parse(text)


def foreign(store: Store, ticket: str, generation: int = 0, age: float = 0.0):
    """A claim of a process of another machine, last renewed ``age`` seconds ago; negative once a clock was set back."""
    (store.root / "claims").mkdir(exist_ok=True)
    path = store.root / "claims" / f"{ticket}.{generation}"
    path.write_text(json.dumps({"host": "elsewhere", "pid": os.getpid(), "start": "1"}))
    moment = store.now() - int(age * 1e9)
    os.utime(path, ns=(moment, moment))
    return path


def test_a_claim_excludes_others_until_it_is_released(tmp_path) -> None:
    mine, others = (Claims(Store(tmp_path)) for _ in range(2))
    with mine.hold("t") as held, others.hold("t") as second, others.hold("u") as other_cell:
        assert (held, second, other_cell) == (True, False, True)
        assert {claim.ticket for claim in mine.live(Store(tmp_path).now())} == {"t", "u"}
    with others.hold("t") as held:
        assert held


@pytest.mark.parametrize(("age", "free"), [(0, False), (50, False), (70, True), (-50, False), (-70, True)])
def test_a_claim_of_another_machine_holds_for_its_lease(tmp_path, age, free) -> None:
    store = Store(tmp_path)
    claims = Claims(store, lease=60)
    old = foreign(store, "t", generation=3, age=age)
    with claims.hold("t") as held:
        assert held == free
        assert [path.name for path in old.parent.iterdir()] == ["t.4" if free else "t.3"]


def test_renewing_prolongs_a_claim(tmp_path) -> None:
    store = Store(tmp_path)
    mine, others = (Claims(store, lease=60) for _ in range(2))
    with mine.hold("t"):
        path = next((tmp_path / "claims").iterdir())
        os.utime(path, ns=(0, 0))
        assert others.live(Store(tmp_path).now()) == []
        mine.renew()
        assert len(others.live(Store(tmp_path).now())) == 1


def test_a_claim_of_an_ended_process_of_this_machine_is_free_at_once(tmp_path) -> None:
    script = "import os, sys; from pathlib import Path; from robust3d.benchmarks.scale.claims import Claims; "
    script += "from robust3d.benchmarks.store import Store; "
    script += "held = Claims(Store(Path(sys.argv[1]))).hold('t'); held.__enter__(); os._exit(0)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["t.0"]
    claims = Claims(Store(tmp_path))
    assert claims.live(Store(tmp_path).now()) == []
    with claims.hold("t") as held:
        assert held
    assert not list((tmp_path / "claims").iterdir())


def test_a_claim_without_content_holds_for_its_lease(tmp_path) -> None:
    claims = Claims(Store(tmp_path))
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "t.0").touch()
    with claims.hold("t") as held:
        assert not held
    os.utime(tmp_path / "claims" / "t.0", ns=(0, 0))
    with claims.hold("t") as held:
        assert held


def test_losses_count_over_machines(tmp_path) -> None:
    first, second = (Losses(Store(tmp_path)) for _ in range(2))
    assert first.add("t", "one hung") == ["one hung"]
    assert sorted(second.add("t", "one died")) == ["one died", "one hung"]
    assert first.add("u", "x") == ["x"]
    second.forget("t")
    assert first.add("t", "again") == ["again"]


def record(case: str, seconds: float) -> dict[str, object]:
    return {
        "schema": SCHEMA, "model": "m", "attack": "clean", "case": case, "seconds": seconds, "model_sha256": "w",
        "settings": {"pipeline": {}, "attack": None}, "threat": {}, "seed": 0, "cell": f"key-{case}",
    }  # fmt: skip


def test_status_counts_by_hand(tmp_path) -> None:
    store, claims = Store(tmp_path), Claims(Store(tmp_path))
    tickets = [ticket_of(record(f"c{number}", 0)) for number in range(8)]
    cells = [StoredCell(ticket=ticket, model="m", attack="clean", case="c") for ticket in tickets]
    (tmp_path / "plans").mkdir()
    plan = StoredPlan(title="t", threat="h", shards=2, cells=cells)
    (tmp_path / "plans" / "p.json").write_text(plan.model_dump_json())
    for number, seconds in ((0, 10.0), (1, 20.0)):
        store.put(f"key-c{number}", record(f"c{number}", seconds))
    foreign(store, tickets[2])
    foreign(store, tickets[3], age=10_000)
    store.fail(tickets[4], {}, "broken")
    store.fail(tickets[5], {}, "deadly", set_aside=True)
    with claims.hold(tickets[6]):
        progress = read_progress(tmp_path)[0]
    # Two run, two wait, 15 s each by the mean of those done: 60 s shared by two.
    assert progress.whole == Progress(8, done=2, running=2, failed=1, set_aside=1, waiting=2, seconds_left=30.0)
    assert progress.shards[0] == Progress(4, done=2, running=1, failed=0, set_aside=0, waiting=1, seconds_left=30.0)
    assert progress.shards[1] == Progress(4, done=0, running=1, failed=1, set_aside=1, waiting=1, seconds_left=None)


def test_a_folder_without_a_run_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        read_progress(tmp_path)
    assert not list(tmp_path.iterdir())


def test_status_reads_a_folder_that_it_may_not_write(tmp_path, monkeypatch) -> None:
    store = Store(tmp_path)
    (tmp_path / "plans").mkdir()
    cells = [StoredCell(ticket=str(place), model="m", attack="a", case="c") for place in range(2)]
    plan = StoredPlan(title="t", threat="x", shards=1, cells=cells)
    (tmp_path / "plans" / "p.json").write_text(plan.model_dump_json())
    foreign(store, "1")
    before = sorted(tmp_path.rglob("*"))

    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    whole = read_progress(tmp_path)[0].whole
    assert (whole.running, whole.waiting, sorted(tmp_path.rglob("*"))) == (1, 1, before)


def test_a_full_disk_is_one_sentence_and_leaves_no_claim(tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    claims = Claims(Store(tmp_path))
    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(InputError, match=r"cannot write claim .*: No space left on device"), claims.hold("t"):
        pass
    assert not list((tmp_path / "claims").iterdir())
