# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: cells, resume after SIGKILL, and the leaderboard against a hand-made one."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from robust3d.benchmarks.comparison import compare_attacks
from robust3d.benchmarks.leaderboard import is_cross_validated, leaderboard
from robust3d.report.tables import console_table, markdown, write_tables
from robust3d.threat.model import ThreatModel

TABLES = ("leaderboard.csv", "leaderboard.md", "comparison.csv")


def command(tiny_zoo, out, *extra: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "robust3d",
        "run",
        "tiny-bench",
        "--out",
        str(out),
        "--collection",
        str(tiny_zoo),
        *extra,
    ]


@pytest.fixture(scope="module")
def undisturbed(tiny_zoo, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command(tiny_zoo, out), check=True, capture_output=True)
    return out


def test_cells_hold_what_others_script_against(undisturbed) -> None:
    lines = [json.loads(line) for line in (undisturbed / "results.jsonl").read_text().splitlines()]
    assert [(one["case"], one["attack"]) for one in lines] == [
        (case, attack) for case in ("test_0000", "test_0001") for attack in ("clean", "random-sign", "fgsm", "ifgsm")
    ]
    keys = "benchmark model attack case seed threat dsc tp fp fn tn linf seconds gradients queries model_sha256"
    for one in lines:
        assert {*keys.split(), "volume_sha256", "cell"} <= one.keys()
        assert one["dsc"] == pytest.approx(2 * one["tp"] / max(1, 2 * one["tp"] + one["fp"] + one["fn"]))
        assert one["tp"] + one["fp"] + one["fn"] + one["tn"] == 40 * 36 * 32
        assert one["linf"] <= 10.2001
        assert one["threat"] == {
            "norm": "linf", "epsilon": 10.2, "unit": "HU", "valid": [-100.0, 240.0], "storage": "float32"
        }  # fmt: skip
        assert one["gradients"] == {"clean": 0, "random-sign": 0, "fgsm": 1, "ifgsm": 5}[one["attack"]]
    board = pd.read_csv(undisturbed / "leaderboard.csv")
    columns = "model cases clean_dsc clean_std clean_min clean_max random-sign_dsc fgsm_dsc ifgsm_dsc worst_dsc drop"
    assert list(board.columns) == [*columns.split(), "drop_ci_low", "drop_ci_high"]
    clean = [100 * one["dsc"] for one in lines if one["attack"] == "clean"]
    assert board.clean_dsc[0] == pytest.approx(np.mean(clean), abs=0.005)


@pytest.mark.parametrize("finished", [1, 4, 7])
def test_a_killed_run_resumes_to_the_same_bytes(tiny_zoo, undisturbed, tmp_path, finished) -> None:
    process = subprocess.Popen(command(tiny_zoo, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("cells/[!.]*.json"))) < finished and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/[!.]*.json")}
    assert finished <= len(kept) <= 8
    subprocess.run(command(tiny_zoo, tmp_path), check=True, capture_output=True)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    assert len(list(tmp_path.glob("cells/[!.]*.json"))) == 8
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes()


def test_what_decides_a_result_decides_its_cell(tiny_zoo, undisturbed, tmp_path) -> None:
    cells = {path.stem for path in undisturbed.glob("cells/*.json")}
    subprocess.run(command(tiny_zoo, tmp_path, "--epsilon", "3.4"), check=True, capture_output=True)
    other = {path.stem for path in tmp_path.glob("cells/[!.]*.json")}
    assert len(cells & other) == 2  # the clean ones


def test_a_damaged_cell_is_named(tiny_zoo, undisturbed, tmp_path) -> None:
    (tmp_path / "cells").mkdir()
    source = next(iter(sorted(undisturbed.glob("cells/*.json"))))
    (tmp_path / "cells" / source.name).write_text(source.read_text()[:-40])
    failed = subprocess.run(command(tiny_zoo, tmp_path), capture_output=True, text=True)
    assert failed.returncode == 2
    assert source.name in failed.stderr
    assert "Traceback" not in failed.stderr


def records(model: str, table: dict[str, list[float]], unbounded: str = "") -> list[dict[str, object]]:
    return [
        {"model": model, "case": f"case_{number}", "attack": attack, "dsc": value, "bounded": attack != unbounded}
        for attack, values in table.items()
        for number, value in enumerate(values)
    ]


def test_leaderboard_by_hand() -> None:
    made = records("m", {"clean": [0.9, 0.7], "a": [0.5, 0.1], "b": [0.2, 0.6]})
    row = leaderboard(made, ["m"], ["a", "b"]).iloc[0]
    assert (row.cases, row.clean_dsc, row.clean_std, row.clean_min, row.clean_max) == (2, 80, 10, 70, 90)
    assert (row.a_dsc, row.b_dsc) == (30, 40)
    assert row.worst_dsc == 15  # 20 and 10
    assert row["drop"] == 50  # 80 - 30, the lowest attacked mean
    assert (row.drop_ci_low, row.drop_ci_high) == (40, 60)


@pytest.mark.parametrize(("member", "shown"), [("m/fold-1", True), ("m", False), (None, False)])
def test_lowest_and_highest_of_a_cross_validated_model_are_shown(tmp_path, member, shown) -> None:
    made = records("m", {"clean": [0.9, 0.7], "a": [0.5, 0.1]})
    made = made if member is None else [{**record, "member": member} for record in made]
    board, threat = leaderboard(made, ["m"], ["a"]), ThreatModel(epsilon=10.2, unit="HU")
    write_tables(board, pd.DataFrame(), made, threat, "t", tmp_path)
    page = (tmp_path / "leaderboard.md").read_text()
    assert ("| m | 2 | 80.00 ± 10.00 | 70.00 | 90.00 | 30.00 |" in page) == shown
    assert ("| m | 2 | 80.00 ± 10.00 | 30.00 |" in page) != shown
    assert ("- **clean max**: highest clean DSC, percent." in page) == shown
    table = console_table(board, threat, "t", extremes=is_cross_validated(made))
    headings = [str(column.header) for column in table.columns]
    assert headings[:5] == (["model", "cases", "clean", "clean min", "clean max"] if shown else
                            ["model", "cases", "clean", "a", "worst"])  # fmt: skip


def test_comparison_by_hand() -> None:
    made = records("m", {"clean": [0.9, 0.7], "a": [0.5, 0.1], "b": [0.2, 0.0], "c": [0.5, 0.1]})
    table = compare_attacks(made, ["m"], ["a", "b", "c"])
    assert list(zip(table.attack, table.against, strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert list(table.difference) == [20, 0, -20]
    assert (table.ci_low[0], table.ci_high[0]) == (10, 30)


def test_attacks_beyond_epsilon_are_shown_but_never_the_worst() -> None:
    made = records("m", {"clean": [0.9, 0.7], "a": [0.5, 0.1], "b": [0.2, 0.0]}, unbounded="b")
    row = leaderboard(made, ["m"], ["a", "b"]).iloc[0]
    assert (row.b_dsc, row.worst_dsc, row["drop"]) == (10, 30, 50)


def test_without_an_attack_within_epsilon_there_is_no_worst_case(tmp_path) -> None:
    board = leaderboard(records("m", {"clean": [0.9, 0.7], "b": [0.2, 0.0]}, unbounded="b"), ["m"], ["b"])
    assert board[["worst_dsc", "drop", "drop_ci_low"]].isna().all(axis=None)
    threat = ThreatModel(epsilon=10.2, unit="HU")
    assert markdown(board, threat, "t").splitlines()[6].endswith("| 10.00 | n/a | n/a |")


def test_transfer_and_costs(tiny_zoo, tmp_path) -> None:
    extra = ("--attack", "fgsm@tiny", "--attack", "fgsm", "--attack", "corruption-noise", "--storage", "int16")
    subprocess.run(command(tiny_zoo, tmp_path, *extra), check=True, capture_output=True)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    clean, transfer, own, noise = lines[:4]
    # The source is the model itself, so transfer is the attack itself.
    assert transfer["attack"] == "fgsm@tiny"
    assert (transfer["dsc"], transfer["tp"]) == (own["dsc"], own["tp"])
    assert transfer["settings"]["attack"]["source"]["model"] == transfer["model_sha256"]
    assert clean["gradient_windows"] == 0 < own["gradient_windows"]
    assert clean["forward_windows"] == noise["forward_windows"] > 0
    assert (own["bounded"], noise["bounded"]) == (True, False)
    assert own["linf"] == 10
    assert own["peak_memory_mb"] > 50
    assert {"details", "coarse_empty", "distance"} <= own.keys()


def test_what_an_attack_cannot_serve_is_refused_before_anything_is_computed(tiny_zoo, tmp_path) -> None:
    done = subprocess.run(
        command(tiny_zoo, tmp_path, "--attack", "fgsm", "--attack", "apgd-dlr"), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "use 'margin'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("cells/*.json"))


def test_a_benchmark_without_models_asks_for_one(tiny_zoo, tmp_path) -> None:
    own = tmp_path / "own"
    shutil.copytree(tiny_zoo, own)
    card = own / "benchmarks/tiny-bench.toml"
    lines = [line for line in card.read_text().splitlines() if not line.startswith("models")]
    card.write_text("\n".join(lines))
    done = subprocess.run(command(own, tmp_path / "out"), capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "brings no model; name yours with --model" in done.stderr


def test_only_complete_cases_count() -> None:
    made = records("m", {"clean": [0.9, 0.7], "a": [0.5]})
    assert leaderboard(made, ["m"], ["a"]).iloc[0].cases == 1
    assert compare_attacks(made, ["m"], ["a", "b"]).empty


def test_a_model_without_a_complete_case_does_not_hide_the_others() -> None:
    made = [*records("m", {"clean": [0.9, 0.7], "a": [0.5, 0.3]}), *records("n", {"clean": [0.8]})]
    board = leaderboard(made, ["n", "m"], ["a"])
    assert board.cases.tolist() == [0, 2]
    assert board.a_dsc.tolist() == pytest.approx([np.nan, 40], nan_ok=True)
    assert "| n | 0 | n/a | n/a |" in markdown(board, ThreatModel(epsilon=1, unit="HU"), "t")
