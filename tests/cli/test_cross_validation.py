# SPDX-License-Identifier: Apache-2.0
"""Cross-validation from the command line: each case is evaluated by the model that did not see it."""

import json
import re
import shutil
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import pytest

from robust3d.benchmarks.board.make import make_entries
from robust3d.benchmarks.replay import Replay
from robust3d.benchmarks.results import read_results
from robust3d.cli.data import check
from robust3d.cli.run import run
from robust3d.cli.train import train
from robust3d.data.phantoms import PhantomDataset
from robust3d.data.splits import Split, read_split, write_split
from robust3d.data.writing import write_folder
from robust3d.defenses.cases import Fold, training_cases
from robust3d.defenses.recipe import Recipe
from robust3d.foundation.cards import read_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError
from robust3d.report.exports import export_latex
from robust3d.report.html.board import board_view
from robust3d.zoo.card import ModelCard
from robust3d.zoo.load import load_model
from robust3d.zoo.members import Members, check_starts
from tests.data.cards import write_cards


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data`` of five cases, cards in ``own``, and both folds in ``out``."""
    root = tmp_path_factory.mktemp("cv")
    dataset = PhantomDataset("train", 5, (24, 20, 16), (10.0, 10.0, 16.0))
    write_folder(dataset, root / "data", name="P", labels={"background": 0, "pancreas": 1})
    write_cards(root / "own", window=16)
    train("tiny-cv", data=root / "data", fold="all/2", out=root / "out", device="cpu", collection=(root / "own",))
    return root


def test_a_case_is_evaluated_by_the_fold_that_left_it_out(trained, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    collections = (trained / "own", trained / "out")
    run("tiny-cv", data=trained / "data", out=tmp_path, device="cpu", collection=collections)
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(records) == 10
    zoo = trained / "out" / "zoo"
    weights = {}
    for fold in (1, 2):
        folder = zoo / "resdsn-tiny-cv" / f"fold-{fold}"
        split, card = read_split(folder / "split.json"), read_card(folder / "card.toml", ModelCard)
        assert card.split is not None
        assert card.split.sha256 == split.sha256
        assert card.coarse.fusion == "vote"
        command = f"robust3d train tiny-cv --out out --data DATA --fold {fold}/2 --collection own"
        assert card.training.command == command
        weights |= dict.fromkeys(split.test, (card.coarse.sha256, split.sha256))
    assert len(weights) == 5
    for record in records:
        assert (record["model_sha256"], record["split_sha256"]) == weights[record["case"]]
        assert record["model"] == "resdsn-tiny-cv"
    clean = [100 * record["dsc"] for record in records if record["attack"] == "clean"]
    page = (tmp_path / "leaderboard.md").read_text()
    assert re.search(rf"\| resdsn-tiny-cv \| 5 \| \S+ ± \S+ \| {min(clean):.2f} \| {max(clean):.2f} \|", page)
    assert "clean min ┃ clean max" in capsys.readouterr().out
    results, opened = read_results(tmp_path), Collections.open(collections)
    assert len(results.weights["resdsn-tiny-cv"]) == 2
    (latex,) = export_latex(results, tmp_path)
    assert f"& {min(clean):.2f} & {max(clean):.2f} &" in latex.read_text()
    view = board_view(results, dict.fromkeys((attack for _, attack in results.rows), ""), {})
    shown = {column.heading: entry.text for column, entry in zip(view.columns, view.rows[0], strict=True)}
    assert (shown["clean min"], shown["clean max"]) == (f"{min(clean):.2f}", f"{max(clean):.2f}")
    cases = list(weights)
    replay = Replay(
        results,
        opened,
        lambda name, precision: load_model(name, device="cpu", precision=precision, collections=opened),
        str(trained / "data"),
    )
    replay.check(cases)
    assert all(cell.agrees for case in cases for cell in replay.case(case, lambda _: None).cells.values())
    with pytest.raises(InputError, match=r"is cross-validated \(resdsn-tiny-cv/fold-1, resdsn-tiny-cv/fold-2\)"):
        make_entries(tmp_path, by="me", day=date(2026, 1, 1), link=None, collections=opened)


def test_a_model_does_not_test_what_it_saw(trained) -> None:
    collections = Collections.open((trained / "out",))
    members = Members(collections)
    split = members("resdsn-tiny-cv/fold-1", _test_case(trained, 1)).split
    assert split is not None
    with pytest.raises(InputError, match=f"case {split.train[0]} trained model resdsn-tiny-cv/fold-1"):
        members("resdsn-tiny-cv/fold-1", split.train[0])
    with pytest.raises(InputError, match=f"case {split.validation[0]} validated model"):
        members("resdsn-tiny-cv/fold-1", split.validation[0])
    with pytest.raises(InputError, match=r"none of the folds .*fold-1, .*fold-2 tests case stranger"):
        members("resdsn-tiny-cv", "stranger")
    assert members("resdsn-tiny-cv/coarse", split.test[0]).name == "resdsn-tiny-cv/fold-1/coarse"
    assert load_model("resdsn-tiny-cv/fold-1/coarse", device="cpu", collections=collections).classes == 2


def test_a_start_from_a_network_with_other_connections_is_refused() -> None:
    """Their weights have the same names and shapes."""
    natural = read_card(Collections.open().find("defenses", "madry"), Recipe)
    dsn = natural.model_copy(update={"network": natural.network.model_copy(update={"name": "dsn"})})
    check_starts(natural, None, Collections.open())
    with pytest.raises(
        InputError, match="stage coarse starts from resdsn-c2f-natural/coarse, whose card says name = 'resdsn'"
    ):
        check_starts(dsn, None, Collections.open())
    some = dsn.coarse.model_copy(update={"start_layers": ("conv1",)})
    check_starts(dsn.model_copy(update={"coarse": some}), None, Collections.open())


@pytest.fixture
def by_number(trained) -> Recipe:
    recipe = read_card(trained / "own" / "defenses" / "tiny-cv.toml", Recipe)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"train_cases": 2})})


def test_cases_by_number_are_written_down(trained, by_number) -> None:
    cases = training_cases(by_number, trained / "data", None, Collections.open(()))
    assert cases.split is not None
    assert cases.split.train == ("train_0000", "train_0001")
    assert cases.split.validation == ("train_0002",)
    assert cases.split.test == ("train_0003", "train_0004")


def test_weights_that_saw_a_test_case_are_no_start(trained, by_number) -> None:
    collections = Collections.open((trained / "out",))
    stage = by_number.coarse.model_copy(update={"start": "resdsn-tiny-cv/fold-1/coarse"})
    recipe = by_number.model_copy(update={"coarse": stage})
    seen = read_split(trained / "out" / "zoo" / "resdsn-tiny-cv" / "fold-1" / "split.json")
    for test, refused in ((seen.train[:1], True), (seen.validation, True), (seen.test, False)):
        split = Split(name="s", train=("other",), test=(*test, "stranger"))
        refusal = pytest.raises(InputError, match=f"{test[0]} the first, trained or validated")
        with refusal if refused else nullcontext():
            check_starts(recipe, split, collections)
        check_starts(by_number, split, collections)
        check_starts(recipe, None, collections)


def test_a_split_without_validation_cases_does_not_train(trained, by_number, tmp_path) -> None:
    path = tmp_path / "benchmarks" / "splits" / "s.json"
    path.parent.mkdir(parents=True)
    write_split(Split(name="s", train=("train_0000",), test=("train_0001",)), path)
    data = by_number.data.model_copy(update={"split": "s"})
    with pytest.raises(InputError, match="split s names no case under validation"):
        training_cases(
            by_number.model_copy(update={"data": data}), trained / "data", None, Collections.open([tmp_path])
        )


def test_data_check_takes_absolute_paths_inside_and_refuses_those_elsewhere(trained, tmp_path, capsys) -> None:
    files = [trained / "data" / f / f"train_0000{s}.nii.gz" for f, s in (("imagesTr", "_0000"), ("labelsTr", ""))]
    own = [Path(shutil.copy(file, tmp_path / file.name)) for file in files]
    (tmp_path / "cases.csv").write_text("image,label\n{},{}\n".format(*own))
    check(tmp_path)
    assert own[0].name in capsys.readouterr().out
    (tmp_path / "cases.csv").write_text("image,label\n{},{}\n".format(*files))
    with pytest.raises(InputError, match="2 problems, listed above"):
        check(tmp_path)
    assert capsys.readouterr().out.count("leads out of") == 2


def test_a_changed_split_is_refused(trained, tmp_path) -> None:
    shutil.copytree(trained / "out" / "zoo", tmp_path / "zoo")
    path = tmp_path / "zoo" / "resdsn-tiny-cv" / "fold-2" / "split.json"
    content = json.loads(path.read_text())
    content["train"], content["test"] = content["test"], content["train"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"split .*fold-2/split\.json has SHA-256"):
        Members(Collections.open((tmp_path,)))("resdsn-tiny-cv", "train_0000")


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        ("3/2", "fold 3/2 is out of range; there are folds 1/2 to 2/2"),
        ("0/2", "out of range"),
        ("1", "not of the form I/K"),
        ("1/9", "5 cases cannot make 9 folds"),
        (None, "say which fold is left out"),
    ],
)
def test_a_wrong_fold_is_refused(trained, tmp_path, fold, message) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        train("tiny-cv", data=trained / "data", fold=fold, out=tmp_path, device="cpu", collection=(trained / "own",))


def test_a_recipe_with_its_own_cases_has_no_folds(tmp_path) -> None:
    with pytest.raises(InputError, match="generates its cases; leave out --fold 1/4"):
        train("natural", fold="1/4", out=tmp_path, device="cpu")
    assert [str(fold) for fold in Fold.parse_all("all/3")] == ["1/3", "2/3", "3/3"]


def test_data_check_lists_cases_or_every_problem(trained, tmp_path, capsys) -> None:
    check(trained / "data")
    shown = capsys.readouterr().out
    assert "layout nnunet, 5 labelled cases" in shown
    assert "labels: 0 background, 1 pancreas" in shown
    shutil.copytree(trained / "data", tmp_path / "data")
    (tmp_path / "data" / "labelsTr" / "train_0001.nii.gz").unlink()
    (tmp_path / "data" / "imagesTr" / "train_0003_0000.nii.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match=r"\(layout nnunet\) has 2 problems, listed above"):
        check(tmp_path / "data")
    shown = capsys.readouterr().out
    assert "case train_0001 has no label" in shown
    assert "case train_0003" in shown


def _test_case(root: Path, fold: int) -> str:
    return read_split(root / "out" / "zoo" / "resdsn-tiny-cv" / f"fold-{fold}" / "split.json").test[0]
