# SPDX-License-Identifier: Apache-2.0
"""Workers that end, hang or cannot start, on tasks without a network."""

import multiprocessing
import os
import signal
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust3d.benchmarks.scale.processes import is_running, started, terminating_like_ctrl_c
from robust3d.benchmarks.scale.queue import Queue
from robust3d.benchmarks.scale.supervisor import Events, Supervisor, _Worker
from robust3d.benchmarks.scale.worker import Slot
from robust3d.foundation.errors import InputError
from tests.benchmarks.scale.jobs import Tasks


class Heard:
    """What a supervisor told; gives a task up after its second lost worker."""

    def __init__(self) -> None:
        self.done = {}
        self.lost: list[tuple[int, str]] = []
        self.ended: list[int] = []

    def events(self) -> Events:
        def lost(task: int, pid: int, how: str) -> bool:
            assert pid in self.ended
            self.lost.append((task, how))
            return [one for one, _ in self.lost].count(task) == 2

        return Events(self.done.__setitem__, lost, self.ended.append)


def supervise(job: Tasks, slots: int, tasks: int, patience: float = 60.0) -> Heard:
    heard = Heard()
    places = [Slot(f"cpu{number}", 1) for number in range(slots)]
    Supervisor(job, places, Queue(dict.fromkeys(range(tasks), "g")), heard.events(), patience=patience, retry=0.1).run()
    assert not multiprocessing.active_children()
    return heard


def test_deadly_tasks_are_given_up_and_the_others_done(tmp_path) -> None:
    heard = supervise(Tasks(tmp_path / "log", deadly=(1,), raising=(4,)), slots=2, tasks=6)
    assert sorted(heard.done) == [0, 2, 3, 5]
    assert all(outcome.key == f"key {task}" for task, outcome in heard.done.items())
    assert sorted(heard.lost) == [(1, "was killed by SIGKILL")] * 2 + [(4, "ended with exit code 7")] * 2
    tried = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    # No task is done twice but for those that ended their workers.
    assert Counter(int(one[0]) for one in tried) == {0: 1, 1: 2, 2: 1, 3: 1, 4: 2, 5: 1}
    assert {one[1] for one in tried} <= {"cpu0", "cpu1"}
    assert {one[-1] for one in tried} == {"1"}


def test_a_hung_worker_is_replaced(tmp_path) -> None:
    heard = supervise(Tasks(tmp_path / "log", hanging=(0,)), slots=1, tasks=2, patience=2.0)
    assert sorted(heard.done) == [1]
    assert [task for task, _ in heard.lost] == [0, 0]
    assert all("made no progress for" in how for _, how in heard.lost)


@pytest.mark.parametrize("place", ["start of the first", "start of another", "end"])
def test_an_interrupt_at_any_moment_leaves_no_worker(tmp_path, monkeypatch, place) -> None:
    """Ctrl-C just after a process was started, or once more while they are ended, left one that nobody ended."""
    start, end, calls = _Worker.start, _Worker.end, []

    def interrupted_start(worker: _Worker) -> None:
        start(worker)
        calls.append(worker)
        if len(calls) == {"start of the first": 1, "start of another": 2}.get(place):
            raise KeyboardInterrupt

    def interrupted_end(worker: _Worker) -> None:
        if place == "end" and worker not in calls[2:]:
            calls.append(worker)
            raise KeyboardInterrupt
        end(worker)

    monkeypatch.setattr(_Worker, "start", interrupted_start)
    monkeypatch.setattr(_Worker, "end", interrupted_end)
    with pytest.raises(KeyboardInterrupt):
        supervise(Tasks(tmp_path / "log"), slots=2, tasks=4)
    assert len(calls) == {"start of the first": 1, "start of another": 2, "end": 4}[place]
    assert not multiprocessing.active_children()


def test_workers_that_cannot_start_stop_the_run(tmp_path) -> None:
    with pytest.raises(InputError, match="3 workers in a row stopped at their start: the last ended with exit code 3"):
        supervise(Tasks(tmp_path / "log", broken=True), slots=1, tasks=2)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 4))
def test_a_queue_gives_each_task_once_and_keeps_groups_together(groups, workers) -> None:
    queue = Queue(dict(enumerate(groups)))
    last: list[int | None] = [None] * workers
    given_out = []
    turn = 0
    while queue:
        worker = turn % workers
        others = [one for number, one in enumerate(last) if number != worker and one is not None]
        own = last[worker]
        left = [groups[task] for task in range(len(groups)) if task not in given_out]
        task = queue.take(own, others)
        assert task is not None
        if own is not None and groups[own] in left:
            assert groups[task] == groups[own]
        last[worker] = task
        given_out.append(task)
        turn += 1
    assert sorted(given_out) == list(range(len(groups)))


def test_a_process_is_known_by_number_and_start() -> None:
    own = os.getpid()
    assert is_running(own, started(own))
    assert not is_running(own, "another start")
    child = multiprocessing.get_context("spawn").Process(target=os.getpid)
    child.start()
    start = started(child.pid)
    child.join()
    assert not is_running(child.pid, start)


def test_an_interrupt_that_python_drops_comes_again(capfd) -> None:
    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0)

    def work() -> None:
        with terminating_like_ctrl_c():
            one = Finalised()
            del one
            time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert "Traceback" not in capfd.readouterr().err
