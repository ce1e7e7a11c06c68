# SPDX-License-Identifier: Apache-2.0
"""Listings: whole in a pipe, and on a terminal fewer columns in place of slivers."""

import tomllib
from pathlib import Path

import pytest
from rich.text import Text

from robust3d.cli import listing
from robust3d.cli.fitted import print_fitted

ROOT = Path(__file__).parents[2]
LISTINGS = {"models": "zoo", "attacks": "attacks", "defenses": "defenses", "benchmarks": "benchmarks"}


@pytest.fixture(params=[60, 80, 130])
def terminal(request, monkeypatch) -> int:
    """Make rich see a terminal of so many columns."""
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", str(request.param))):
        monkeypatch.setenv(name, value)
    return request.param


def _cells(shown: str) -> list[list[str]]:
    lines = Text.from_ansi(shown).plain.splitlines()
    return [
        [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in lines if line[:1] in "│┃"
    ]


@pytest.mark.parametrize("name", LISTINGS)
def test_a_pipe_gets_one_whole_line_an_entry(name, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    getattr(listing, name)()
    shown = capsys.readouterr().out
    headings, *rows = _cells(shown)
    cards = [*(ROOT / LISTINGS[name]).glob("*.toml"), *(ROOT / LISTINGS[name]).glob("*/card.toml")]
    assert len(rows) == len(cards)
    assert {len(row) for row in rows} == {len(headings)}
    assert all(row[0] for row in rows)
    assert "…" not in shown
    assert "No room" not in shown


def test_a_pipe_gets_what_a_card_says_of_its_model(capsys) -> None:
    listing.models()
    headings, *rows = _cells(capsys.readouterr().out)
    for row in rows:
        card = tomllib.loads((ROOT / "zoo" / row[0] / "card.toml").read_text())
        about, results = card["model"], card.get("results")
        cells = dict(zip(headings, row, strict=True))
        assert [cells[key] for key in ("defense", "licence", "data")] == [
            about[key] for key in ("defense", "licence", "data")
        ]
        measured = [f"{results[key]:.1f}" for key in ("clean_dsc", "worst_dsc")] if results else ["not run", ""]
        assert [cells["clean"], cells["worst"]] == measured
        assert cells["benchmark"] == (results["benchmark"] if results else "")
        assert cells["network"].startswith(card["network"]["name"])


@pytest.mark.parametrize("name", LISTINGS)
def test_a_terminal_cuts_no_word(name, terminal, capsys, monkeypatch) -> None:
    getattr(listing, name)()
    narrow = capsys.readouterr().out
    monkeypatch.delenv("FORCE_COLOR")
    getattr(listing, name)()
    whole = _cells(capsys.readouterr().out)
    assert max(map(len, Text.from_ansi(narrow).plain.splitlines())) <= terminal
    headings, *lines = _cells(narrow)
    # Lines of a wrapped row are joined: each shown cell is the whole text.
    joined: list[list[str]] = []
    for line in lines:
        if line[0]:
            joined.append(line)
        else:
            joined[-1] = [f"{above} {below}".strip() for above, below in zip(joined[-1], line, strict=True)]
    places = [whole[0].index(heading) for heading in headings]
    assert joined == [[row[place] for place in places] for row in whole[1:]]
    assert len(places) >= 2
    absent = [heading for heading in whole[0] if heading not in headings]
    told = " ".join(Text.from_ansi(narrow).plain.split())
    assert (f"No room for {', '.join(absent)};" in told) == bool(absent)


def test_a_column_without_room_makes_way_for_a_smaller_one(capsys, monkeypatch) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "40")):
        monkeypatch.setenv(name, value)
    # Of 40 columns borders and padding take 10: 30 = 12 + 15 + 3, so that the 20 of "wide" do not fit.
    print_fitted("t", ("name", "second", "wide", "n"), [("a" * 12, "b" * 15, "c " * 30, "123")])
    shown = Text.from_ansi(capsys.readouterr().out).plain
    assert _cells(shown) == [["name", "second", "n"], ["a" * 12, "b" * 15, "123"]]
    assert "No room for wide" in shown
