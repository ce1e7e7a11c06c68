# SPDX-License-Identifier: Apache-2.0
"""Names and texts from files neither command a terminal nor make markup on a console or in Markdown."""

import json
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from gate_cells import cell, write
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from robust3d.benchmarks.board.entry import Submitted
from robust3d.benchmarks.board.read import checked_part
from robust3d.benchmarks.results import read_results
from robust3d.cli.app import main
from robust3d.cli.progress import cell_progress
from robust3d.data.folder import FolderDataset
from robust3d.foundation.cards import read_card
from robust3d.foundation.errors import InputError
from robust3d.foundation.text import printable, refuse_control
from robust3d.report.escape import escape_markdown
from robust3d.report.tables import console_table, markdown
from robust3d.threat.model import ThreatModel
from robust3d.zoo.card import ModelCard

RED = "\x1b[31m"
TITLE = "\x1b]0;owned\x07"
TURNED = "a\u202eb"
HOSTILE = (RED, TITLE, TURNED, "\x9b31m", "a\x00b", "a\x08b", "\x7f", "a\rb")


@given(st.text())
def test_nothing_that_is_printed_is_a_control_character(text) -> None:
    import unicodedata

    shown = printable(text)
    assert {sign for sign in shown if unicodedata.category(sign) == "Cc"} <= {"\t", "\n"}
    assert printable(shown) == shown
    if shown == text:
        assert refuse_control(text) == text
    else:
        with pytest.raises(ValueError, match="control character"):
            refuse_control(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_messages_are_printable(text) -> None:
    shown = str(InputError(f"case {text} is not there"))
    assert printable(shown) == shown


@pytest.mark.parametrize("text", [*HOSTILE, "tab\tand\nline"])
def test_cards_hold_no_control_characters(tiny_zoo, tmp_path, text) -> None:
    card = (tiny_zoo / "zoo/tiny/card.toml").read_text()
    (tmp_path / "card.toml").write_text(card.replace('"random weights"', json.dumps(text)))
    if text.startswith("tab"):
        assert read_card(tmp_path / "card.toml", ModelCard).model.description == text
        return
    with pytest.raises(InputError, match=r"control character|Illegal|not valid TOML") as caught:
        read_card(tmp_path / "card.toml", ModelCard)
    assert printable(str(caught.value)) == str(caught.value)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("key", ["model", "attack", "case", "benchmark"])
def test_results_hold_no_control_characters(tmp_path, text, key) -> None:
    folder = write(tmp_path, [cell("m", "a", "c", 80.0) | {key: text}])
    with pytest.raises(InputError, match=rf"{key}: .*control character") as caught:
        read_results(folder)
    assert printable(str(caught.value)) == str(caught.value)


@pytest.mark.parametrize(("key", "text"), [("benchmark", "/etc/x.toml"), ("attack", "x.toml"), ("attack", "x.toml@m")])
def test_results_name_no_card_by_its_path(tmp_path, key, text) -> None:
    folder = write(tmp_path, [cell("m", "a", "c", 80.0) | {key: text}])
    with pytest.raises(InputError, match="is a path to a card"):
        read_results(folder)


@pytest.mark.parametrize("text", HOSTILE)
def test_entries_of_the_board_hold_no_control_characters(text) -> None:
    with pytest.raises(InputError, match=r"by: .*control character"):
        checked_part({"by": text, "date": "2026-01-01"}, Submitted, where="entry")


@pytest.fixture
def volume(tmp_path):
    nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4)).to_filename(tmp_path / "a.nii")
    return tmp_path


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_cases_hold_no_control_characters(volume, monkeypatch, capsys, text) -> None:
    content = {"training": [{"image": "a.nii", "label": "a.nii", "case": text}]}
    (volume / "list.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="control character"):
        FolderDataset.open(volume)
    monkeypatch.setattr(sys, "argv", ["robust3d", "data", "check", str(volume)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    shown = "".join(capsys.readouterr())
    assert "control character" in shown
    assert printable(shown) == shown


MARKUP = "[bold red]x[/bold red][/nothing][link=https://a.example]y[/link]"


def test_markup_is_shown_as_it_is(capsys) -> None:
    with cell_progress(1) as progress:
        progress(MARKUP, False)
    assert MARKUP in capsys.readouterr().err
    board = pd.DataFrame({"model": [MARKUP], "cases": [1], MARKUP: [12.5]})
    console = Console(width=400, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(console_table(board, ThreatModel(epsilon=1.0, unit="HU"), MARKUP))
    assert console.export_text().count(MARKUP) == 3


def test_markdown_holds_no_markup_of_names() -> None:
    name = "a|b<script>[x](https://a.example)"
    board = pd.DataFrame({"model": [name], "cases": [1]})
    page = markdown(board, ThreatModel(epsilon=1.0, unit="HU"), name)
    assert page.count(escape_markdown(name)) == 2
    assert "<script>" not in page
    assert "\x1b" not in escape_markdown(RED)
