# SPDX-License-Identifier: Apache-2.0
"""``robust3d data check CARD --root DIR``: whether a folder holds the cases of a benchmark."""

import sys

import nibabel as nib
import numpy as np
import pytest

from robust3d.benchmarks.card import BenchmarkCard
from robust3d.cli.app import main
from robust3d.data.origin import Origin
from robust3d.data.phantoms import PhantomDataset
from robust3d.data.writing import write_folder
from robust3d.foundation.cards import check_card
from robust3d.foundation.collections import Collections
from robust3d.foundation.errors import InputError

CARD = """
benchmark = { name = "own", title = "Own", attacks = ["fgsm"] }
threat = { epsilon = 10.2, unit = "HU" }
reference = { paper = "none" }
[data]
source = "folder"
classes = [{ name = "pancreas", labels = ["pancreas"] }]
[origin]
address = "https://example.org/own"
licence = "CC0"
access = "after registration"
labelled = 80
in_plane = [32, 40]
modality = "CT"
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Call the command on a folder of two phantoms, 40 x 32 x 24; return exit code, output and errors."""
    (tmp_path / "own/benchmarks").mkdir(parents=True)
    card = tmp_path / "own/benchmarks/own.toml"
    card.write_text(CARD)
    labels = {"background": 0, "pancreas": 1}
    dataset = PhantomDataset("test", 2, (40, 32, 24), (8.0, 8.0, 10.0))
    write_folder(dataset, tmp_path / "data", name="P", labels=labels, report=lambda _: None)

    def call(*words: object) -> tuple[int, str, str]:
        line = ["robust3d", "data", "check", "own", "--collection", tmp_path / "own", *words]
        monkeypatch.setattr(sys, "argv", [str(word) for word in line])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    call.card = card
    return call


def test_a_folder_that_fits_is_told_with_its_source(check, tmp_path) -> None:
    code, out, _ = check("--root", tmp_path / "data")
    assert code == 0
    assert "2 test cases of benchmark own" in out
    assert "https://example.org/own (after registration; licence CC0), 80 labelled cases" in out


def test_a_folder_that_is_not_there_tells_where_to_get_it(check, tmp_path) -> None:
    code, _, err = check("--root", tmp_path / "nothing")
    assert code == 2
    assert "nothing is not there; the data of own: https://example.org/own" in err
    assert err.count("\n") == 1


def test_every_case_of_another_shape_or_unit_is_told(check, tmp_path) -> None:
    check.card.write_text(CARD.replace("[32, 40]", "[512, 512]"))
    path = tmp_path / "data/imagesTr/test_0001_0000.nii.gz"
    image = nib.load(path)
    shifted = np.asarray(image.dataobj) + 1024
    nib.save(nib.Nifti1Image(shifted.astype(np.int16), image.affine), path)
    code, out, err = check("--root", tmp_path / "data")
    assert code == 2
    assert out.count("40 x 32 voxels and the dataset's 512 x 512") == 2
    assert out.count("clipped, cropped, shifted or not in HU") == 1
    assert "has 3 problems, listed above" in err
    code, out, _ = check("--root", tmp_path / "data", "--headers")
    assert (code, "slices and unit were not looked at" in out) == (0, True)


def test_a_label_that_is_not_there_is_one_sentence(check, tmp_path) -> None:
    check.card.write_text(CARD.replace('labels = ["pancreas"]', 'labels = ["spleen"]'))
    code, _, err = check("--root", tmp_path / "data")
    assert (code, err.count("\n")) == (2, 1)
    assert "spleen" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["own", "--root", "data", "--layout", "nnunet"], "--layout has no effect"),
        (["data", "--collection", "own"], "--collection has no effect without --root"),
        (["hippocampus"], "hippocampus is a benchmark and no folder; name the folder of its cases with --root"),
        (["hippocampus", "--root", "nothing"], "or call robust3d data fetch hippocampus"),
        (["phantom-pancreas", "--root", "data"], "generates its cases and needs no folder"),
    ],
)
def test_words_that_do_not_go_together(check, tmp_path, monkeypatch, capsys, words, sentence) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["robust3d", "data", "check", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    error = capsys.readouterr().err
    assert (caught.value.code, error.count("\n")) == (2, 1)
    assert sentence in error


@pytest.mark.parametrize("name", ["nih-pancreas", "msd-pancreas", "amos-ct", "btcv"])
def test_cards_of_public_data_say_where_they_are(name) -> None:
    from robust3d.benchmarks.card import read_benchmark_card

    card = read_benchmark_card(name, Collections.open())
    assert card.origin is not None
    assert card.origin.modality == "CT"
    assert card.data.source == "folder"


@pytest.mark.parametrize(
    ("key", "value"), [("address", "ftp://example.org/a"), ("modality", "PET"), ("in_plane", [0, 512]), ("labelled", 0)]
)
def test_a_wrong_origin_is_refused(key, value) -> None:
    good = {"address": "https://example.org/a", "licence": "CC0", "modality": "CT"}
    assert check_card(good, Origin, where="card").access == "free"
    with pytest.raises(InputError, match=key):
        check_card(good | {key: value}, Origin, where="card")


@pytest.mark.parametrize(
    ("data", "unit", "sentence"),
    [
        ({"source": "phantom", "cases": 1}, "HU", "section origin has no effect"),
        ({"source": "folder", "rescale": "percentiles"}, "% of range", "is checked in HU, which data.rescale"),
    ],
)
def test_an_origin_that_cannot_be_checked_is_refused(data, unit, sentence) -> None:
    content = {
        "benchmark": {"name": "x", "title": "x", "attacks": ["fgsm"]},
        "data": data,
        "threat": {"epsilon": 1.0, "unit": unit},
        "reference": {"paper": "none"},
        "origin": {"address": "https://example.org/a", "licence": "CC0", "modality": "CT"},
    }
    with pytest.raises(InputError, match=sentence):
        check_card(content, BenchmarkCard, where="card")
