# SPDX-License-Identifier: Apache-2.0
"""Trackers: what is logged is what can be read back with the tracker's own reader."""

import importlib.util
import struct
import sys
import warnings

import pytest

from robust3d.foundation.errors import InputError
from robust3d.report.tracking import open as opening
from robust3d.report.tracking.open import TRACKERS, open_tracker
from robust3d.report.tracking.tracker import flat

VALUES = [(1, 0.75), (2, 0.5), (7, -3.25)]


def needs(name: str):
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")


def log(kind: str, folder) -> None:
    report = folder / "leaderboard.md"
    report.write_text("# table\n")
    with open_tracker([kind], folder, name="run") as tracker:
        tracker.parameters({"threat/epsilon": 10.2, "model": "m"})
        for step, value in VALUES:
            tracker.metrics({"m/fgsm@n/dsc": value}, step)
        tracker.artefact(report)


@needs("tensorboardX")
def test_tensorboard(tmp_path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    log("tensorboard", tmp_path)
    (file,) = (tmp_path / "tensorboard").glob("events.*")
    content, place, found, texts = file.read_bytes(), 0, [], set()
    # TFRecord: length, its checksum, content, its checksum.
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        event = Event.FromString(content[place + 12 : place + 12 + length])
        place += 16 + length
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.append((value.tag, event.step, value.simple_value))
            else:
                texts.add((value.tag, value.tensor.string_val[0].decode()))
    assert {tag for tag, _, _ in found} == {"m/fgsm_n/dsc"}
    assert [(step, value) for _, step, value in found] == VALUES
    assert any("parameters" in tag and "| threat/epsilon | 10.2 |" in text for tag, text in texts)
    assert any("leaderboard.md" in tag and text == "# table\n" for tag, text in texts)


@needs("mlflow")
def test_mlflow_with_local_files_and_resumed(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    log("mlflow", tmp_path)
    with open_tracker(["mlflow"], tmp_path, name="run") as tracker:
        tracker.parameters({"model": "another", "late": 1})
        tracker.metrics({"m/fgsm@n/dsc": 9.0}, 8)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("robust3d")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"threat/epsilon": "10.2", "model": "m", "late": "1"}
    history = client.get_metric_history(run.info.run_id, "m/fgsm_n/dsc")
    assert [(one.step, one.value) for one in history] == [*VALUES, (8, 9.0)]
    assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["leaderboard.md"]


@needs("wandb")
def test_wandb_stays_offline(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    log("wandb", tmp_path)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert list(folder.glob("run-*.wandb"))
    assert (folder / "files" / "leaderboard.md").exists()


@pytest.mark.parametrize(
    ("kind", "package"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow"), ("wandb", "wandb")]
)
def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch, kind, package) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(InputError, match=rf"--track {kind} .* pip install 'robust3d\[{kind}\]'"),
        open_tracker([kind], tmp_path, name="run"),
    ):
        pass


def test_an_unknown_tracker_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match="did you mean 'mlflow'"), open_tracker(["mlflw"], tmp_path, name="run"):
        pass
    assert set(TRACKERS) == {"tensorboard", "mlflow", "wandb"}


def test_flat_names() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": [2]}, "e": None}) == {"a/b/c": 1, "a/d": [2], "e": None}


class Server:
    """A tracker whose server answers a few times."""

    def __init__(self, answers: int) -> None:
        self.answers, self.calls = answers, []

    def metrics(self, values, step) -> None:
        if len(self.calls) == self.answers:
            raise ConnectionError("no route to host")
        self.calls.append(step)

    def close(self, *, failed) -> None:
        self.metrics({}, failed)


def test_a_server_that_fails_ends_neither_the_run_nor_the_other_trackers(tmp_path, monkeypatch) -> None:
    bad, good = Server(1), Server(9)
    monkeypatch.setattr(opening, "TRACKERS", {"bad": lambda *_: bad, "good": lambda *_: good})
    with warnings.catch_warnings(record=True) as told, open_tracker(["bad", "good"], tmp_path, name="run") as tracker:
        warnings.simplefilter("always")
        for step in (1, 2, 3):
            tracker.metrics({"x": 0.0}, step)
    assert [str(one.message) for one in told] == ["Server failed and is left out from now on: no route to host"]
    assert (bad.calls, good.calls) == ([1], [1, 2, 3, False])


def test_a_failed_run_is_not_marked_as_finished(tmp_path, monkeypatch) -> None:
    kept = Server(9)
    monkeypatch.setattr(opening, "TRACKERS", {"kept": lambda *_: kept})
    with pytest.raises(KeyError), open_tracker(["kept"], tmp_path, name="run"):
        raise KeyError
    assert kept.calls == [True]


def test_a_server_that_cannot_be_opened_is_one_sentence_and_the_first_is_closed(tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionError("no route to host")

    kept = Server(9)
    monkeypatch.setattr(opening, "TRACKERS", {"kept": lambda *_: kept, "mlflow": refuse})
    with (
        pytest.raises(InputError, match="--track mlflow cannot be opened: no route to host"),
        open_tracker(["kept", "mlflow"], tmp_path, name="run"),
    ):
        pass
    assert kept.calls == [True]
