# SPDX-License-Identifier: Apache-2.0
"""robust3d leaderboard: entries from runs, claims, the site, and mistakes in one sentence."""

import json
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from robust3d.cli.app import main
from robust3d.foundation.digest import digest_json

ROOT = Path(__file__).parents[2]
BOARD = ROOT / "leaderboards"
RUN = ROOT / "benchmarks" / "baselines" / "table8"
MODEL = "resdsn-c2f-natural/coarse"
FILE = "table8/resdsn-c2f-natural__coarse.json"
MEANS = json.loads((BOARD / FILE).read_text())["summary"]["attacks"]
STRONGEST = min(MEANS, key=MEANS.get)


@pytest.fixture
def robust3d(monkeypatch, capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["robust3d", "leaderboard", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, " ".join(err.split())

    return run


def signed(file: Path) -> tuple[str, str]:
    submitted = json.loads(file.read_text())["submitted"]
    return submitted["by"], submitted["date"]


def write_run(folder: Path, edit) -> Path:
    """A run of one more attack on the model, each cell of the strongest one edited and its key made anew."""
    lines = []
    for text in (RUN / "results.jsonl").read_text().splitlines():
        cell = json.loads(text)
        if cell["model"] != MODEL or cell["attack"] != STRONGEST:
            continue
        cell["attack"] = cell["settings"]["attack"]["name"] = "stronger"
        edit(cell)
        counts = cell["classes"]["1"]
        cell["dsc"] = 2 * counts["tp"] / (2 * counts["tp"] + counts["fp"] + counts["fn"])
        decides = {"schema": 2, "model": cell["model_sha256"], "pipeline": cell["settings"]["pipeline"]}
        decides |= {"volume": cell["volume_sha256"], "attack": cell["settings"]["attack"]}
        cell["cell"] = digest_json(decides | {"threat": cell["threat"], "seed": cell["seed"]})
        lines.append(json.dumps(cell) + "\n")
    folder.mkdir()
    (folder / "results.jsonl").write_text("".join(lines))
    return folder


def miss_everything(cell: dict) -> None:
    counts = cell["classes"]["1"]
    counts.update(tp=0, fn=counts["fn"] + counts["tp"])


def test_committed_entries_are_what_the_command_makes(robust3d, tmp_path) -> None:
    by, date = signed(BOARD / FILE)
    code, out, err = robust3d("add", RUN, "--collection", tmp_path, "--by", by, "--date", date)
    assert (code, err, out.count("wrote")) == (0, "", 2)
    for file in (BOARD / "table8").glob("*.json"):
        assert (tmp_path / "table8" / file.name).read_bytes() == file.read_bytes()
    # Again by somebody else: nothing changed, so the entry stays theirs.
    assert robust3d("add", RUN, "--collection", tmp_path, "--by", "other")[0] == 0
    assert (tmp_path / FILE).read_bytes() == (BOARD / FILE).read_bytes()


def test_a_claim_lowers_the_row_and_stays(robust3d, tmp_path) -> None:
    entries = shutil.copytree(BOARD, tmp_path / "entries")
    run = write_run(tmp_path / "run", miss_everything)
    proof = ("--by", "Eve <b>", "--evidence", "https://example.org/x.zip", "--evidence-sha256", "e" * 64)
    code, _, err = robust3d("claim", run, "--entry", entries / FILE, *proof, "--date", "2026-11-02")
    assert (code, err) == (0, "")
    assert robust3d("add", RUN, "--collection", entries, "--by", "other")[0] == 0
    code, _, err = robust3d("--collection", entries, "--out", tmp_path / "site")
    assert (code, err) == (0, "")
    board = json.loads((tmp_path / "site" / "leaderboard.json").read_text())
    rows = {row["model"]: row for table in board["tables"] for row in table["rows"] if table["benchmark"] == "table8"}
    assert (rows[MODEL]["best_known_dsc"], rows[MODEL]["claims"][0]["by"]) == (0, "Eve <b>")
    assert rows[MODEL]["worst_dsc"] > 0
    assert "stronger of Eve &lt;b>" in (tmp_path / "site" / "leaderboard.md").read_text()
    html = (tmp_path / "site" / "index.html").read_text()
    assert "Eve &lt;b&gt;" in html
    assert "<b>" not in html
    # The same again is nothing new.
    code, _, err = robust3d("claim", run, "--entry", entries / FILE, *proof)
    assert code == 2
    assert "holds no attack on resdsn-c2f-natural/coarse that its entry lacks" in err


def test_a_claim_that_lowers_nothing_is_refused_and_nothing_written(robust3d, tmp_path) -> None:
    entries = shutil.copytree(BOARD, tmp_path / "entries")
    run = write_run(tmp_path / "run", lambda cell: None)
    proof = ("--by", "Eve", "--evidence", "https://example.org/x.zip", "--evidence-sha256", "e" * 64)
    code, _, err = robust3d("claim", run, "--entry", entries / FILE, *proof)
    assert code == 2
    assert "lowers the worst case of no case" in err
    assert (entries / FILE).read_bytes() == (BOARD / FILE).read_bytes()
    code, _, err = robust3d("claim", run, "--entry", entries / FILE, *proof[:3], "ftp://x", *proof[4:])
    assert code == 2
    assert "--evidence: url" in err


def test_the_page_is_whole_and_loads_nothing(robust3d, tmp_path) -> None:
    assert robust3d("--collection", BOARD, "--out", tmp_path)[0] == 0
    opened: list[str] = []
    loads: list[str] = []

    class Page(HTMLParser):
        def handle_starttag(self, tag, attributes) -> None:
            if tag not in ("meta", "br", "link"):
                opened.append(tag)
            loads.extend(value for name, value in attributes if name in ("src", "href"))

        def handle_endtag(self, tag) -> None:
            assert opened.pop() == tag

    Page().feed((tmp_path / "index.html").read_text())
    assert opened == []
    # Only to a place of its own, and an icon that is empty.
    assert set(loads) == {"#main", "data:,"}


def test_validate_names_everything_and_exits_with_2(robust3d, tmp_path) -> None:
    assert robust3d("validate", BOARD / FILE)[1].endswith("1 entry valid\n")
    shutil.copytree(BOARD / "table8", tmp_path / "table8")
    content = json.loads((tmp_path / FILE).read_text())
    content["cells"][1]["linf"] = 11.0
    content["summary"]["cases"] = 3
    content["cells"][2]["dsc"] = 1.0
    (tmp_path / FILE).write_text(json.dumps(content))
    (tmp_path / "table8" / "resdsn-c2f-madry__coarse.json").write_text("{")
    code, out, err = robust3d("validate", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("error: 3 problems: ")
    for part in ("has linf 11 and may have 10.2 HU", "a DSC of 1.000000", "cannot be read as JSON"):
        assert part in err


def test_a_model_of_another_zoo_is_noted(robust3d, tmp_path) -> None:
    content = json.loads((BOARD / FILE).read_text())
    content["model"]["name"] = "theirs/coarse"
    file = tmp_path / "table8" / "theirs__coarse.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content))
    code, out, _ = robust3d("validate", tmp_path)
    assert code == 0
    assert "model theirs is not in a zoo here: card and weights not compared" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("validate",), "nothing to validate"),
        (("validate", "nowhere"), "nowhere holds no BENCHMARK/MODEL.json"),
        (("add", "--collection", "x", "--by", "me"), "nothing to add"),
        (("add", "nowhere", "--collection", "x", "--by", "me"), "nowhere does not exist"),
    ],
)
def test_mistakes_are_one_sentence(robust3d, arguments, sentence) -> None:
    code, out, err = robust3d(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


def test_a_run_that_is_not_whole_gives_no_entry(robust3d, tmp_path) -> None:
    lines = (RUN / "results.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_text("".join(lines[:-1]))
    code, _, err = robust3d("add", tmp_path, "--collection", tmp_path / "entries", "--by", "me")
    assert code == 2
    assert "holds 79 of 80 cells of resdsn-c2f-madry/coarse" in err
    assert not (tmp_path / "entries").exists()
