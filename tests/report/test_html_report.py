# SPDX-License-Identifier: Apache-2.0
"""The pages, figures and volumes of the report, checked by hand and against nibabel."""

import base64
import gzip
import hashlib
import json
import re
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from gate_cells import cell, table, write
from html_case import NASTY, MadeReplay
from matplotlib.image import imread

import robust3d
from robust3d.benchmarks.diagnostics.flags import Flag, raised_flags
from robust3d.benchmarks.diagnostics.report import read_report
from robust3d.benchmarks.results import read_results
from robust3d.cli.app import main
from robust3d.foundation.errors import InputError
from robust3d.report.html.board import board_view, most_affected
from robust3d.report.html.curves import epsilon_curves, step_curves
from robust3d.report.html.layers import viewer_layers
from robust3d.report.html.organ import organ_points
from robust3d.report.html.provenance import command
from robust3d.report.html.tiles import Tiler
from robust3d.report.slices import fullest_slice, most_affected_slices


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))


def test_pages_hold_no_code_and_lead_nowhere_else(made_report) -> None:
    pages = sorted(made_report.glob("*.html"))
    assert [page.name for page in pages] == ["case-0.html", "index.html", "provenance.html"]
    for page in pages:
        reader = Tags()
        reader.feed(page.read_text())
        for tag, attributes in reader.found:
            assert not [name for name in attributes if name.startswith("on")]
            assert tag != "script" or attributes["src"]
            for name in ("src", "href"):
                target = attributes.get(name)
                if target and not target.startswith(("#", "data:,")):
                    assert (made_report / target.partition("#")[0]).is_file(), target
        assert "window.harm" in page.read_text()  # as text
    assert sum(path.stat().st_size for path in made_report.rglob("*") if path.is_file()) < 30_000_000


def test_figures_are_left_out_where_there_is_nothing_to_draw(made_report) -> None:
    assert sorted(path.name for path in (made_report / "figures").iterdir()) == [
        "classes.svg",
        "organ.svg",
        "slope.svg",
    ]
    for path in made_report.rglob("*.svg"):
        assert "prefers-color-scheme:dark" in path.read_text()
        assert "<script" not in path.read_text()


def test_board_and_most_affected_by_hand(made_results) -> None:
    view = board_view(made_results, {"fgsm": "a", "ifgsm": "b"}, {})
    assert [one.heading for one in view.columns] == ["model", "cases", "clean", "fgsm", "ifgsm", "worst", "drop"]
    assert all(one.definition for one in view.columns)
    assert [one.value for one in view.rows[0]] == ["", "2", "80.0", "45.0", "34.5", "24.5", "45.5"]
    assert most_affected(made_results, 1) == ["case_0"]  # drops 81 and 30
    voxels = 1_000_000 / 1000
    assert organ_points(made_results, NASTY) == [(voxels, pytest.approx(81)), (voxels, pytest.approx(30))]


def test_vendored_viewer_is_the_one_described() -> None:
    folder = Path(robust3d.__file__).parent / "report" / "html" / "vendor"
    described = re.search(r"`(niivue[^`]+)`.*SHA-256 `(\w+)`", (folder / "README.md").read_text())
    assert described is not None
    assert hashlib.sha256((folder / described[1]).read_bytes()).hexdigest() == described[2]


def test_tiles_by_hand(tmp_path) -> None:
    tiler = Tiler(tmp_path, "", (0.0, 255.0), (1.0, 2.0))
    origin = np.array([[100.0, 100.0, 100.0], [100.0, 100.0, 100.0]], np.float32)
    moved = origin + np.array([[0, 1, -1], [10, 40, -40]], np.float32)
    tile = tiler.difference("d", moved, origin, "alt")
    # First axis across and second up, both reversed on the screen.
    pixels = (imread(tmp_path / "d.png")[..., 0] * 255).round().astype(int)
    assert pixels[::-1, ::-1].T.tolist() == [[128, 133, 123], [178, 255, 0]]
    assert (tile.width, tile.height) == (160, 160 * 2 * 3 // 2)
    label, mask = np.array([[0, 1, 1], [0, 0, 0]]), np.array([[0, 0, 1], [0, 0, 1]])
    tiler.overlay("o", origin, label, mask, "alt")
    pixels = (imread(tmp_path / "o.png") * 255).round().astype(int)[::-1, ::-1, :3].swapaxes(0, 1)
    assert pixels[0, 0].tolist() == [100, 100, 100]
    assert pixels[0, 1].argmax() == 0  # truth alone: red
    assert pixels[1, 2].argmax() == 1  # prediction alone: green
    assert pixels[0, 2].argmin() == 2  # both: yellow
    tiler.overlay("i", origin, np.where(label == 1, 255, label), mask, "alt")
    pixels = (imread(tmp_path / "i.png") * 255).round().astype(int)[::-1, ::-1, :3].swapaxes(0, 1)
    assert (pixels[0] == 100).all()  # to be ignored: neither truth nor prediction
    ignored = np.zeros((2, 2, 3), int)
    ignored[:, :, 0], ignored[0, 0, 2] = 255, 1
    assert fullest_slice(ignored) == 2


def test_most_affected_slices_by_hand() -> None:
    label = np.zeros((2, 2, 9), int)
    label[0, :, :] = 1
    attacked = label.copy()
    attacked[:, :, 4] = 1 - label[:, :, 4]
    attacked[0, :, 5] = 0
    attacked[0, 0, 8] = 0
    assert most_affected_slices(label, label, attacked, number=3) == [4, 8]  # 5 looks like 4
    assert most_affected_slices(label, label, attacked, number=1) == [4]
    assert most_affected_slices(label, attacked, attacked, number=3) == []


def read(text: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def test_layers_against_nibabel(made_results) -> None:
    made = MadeReplay(made_results).case("case_0", lambda key: None)
    whole, _ = viewer_layers(made, 10_000_000)
    np.testing.assert_array_equal(read(whole["clean"]).get_fdata(), made.origin)
    assert read(whole["clean"]).get_data_dtype() == np.int16
    size = len(json.dumps(whole))
    cropped, note = viewer_layers(made, size * 3 // 4)
    assert "Cropped" in note
    assert read(cropped["truth"]).get_fdata().sum() == made.volume.label.sum()
    thinned, note = viewer_layers(made, size * 3 // 8)
    assert "every 2 x 1 x 1th voxel" in note
    for part in (cropped, thinned):
        label = read(part["truth"])
        # The same voxel lies at the same millimetres.
        places = nib.affines.apply_affine(label.affine, np.argwhere(label.get_fdata() > 0))
        voxels = nib.affines.apply_affine(np.linalg.inv(made.volume.affine), places).round().astype(int)
        assert len(voxels)
        assert made.volume.label[tuple(voxels.T)].all()
    with pytest.raises(InputError, match="report fewer --cases"):
        viewer_layers(made, 100)


def run(tmp_path, name: str, scores: dict[str, list[float]], epsilon: float, **changes):
    cells = table(scores, threat__epsilon=epsilon, **changes)
    return read_results(write(tmp_path / name, cells))


def test_curves_by_hand(tmp_path) -> None:
    low = run(tmp_path, "low", {"clean": [90, 70], "a": [80, 60]}, 3.4)
    high = run(tmp_path, "high", {"clean": [90, 70], "a": [40, 10]}, 10.2)
    assert epsilon_curves([high]) == {}
    (points,) = epsilon_curves([high, low]).values()
    np.testing.assert_allclose(points, [(0, 80), (3.4, 70), (10.2, 25)])
    with pytest.raises(InputError, match="have the same epsilon"):
        epsilon_curves([high, high])
    other = run(tmp_path, "other", {"clean": [90, 70], "a": [40, 10]}, 5.0, seed=1)
    with pytest.raises(InputError, match="only epsilon may differ"):
        epsilon_curves([high, other])
    weights = run(tmp_path, "weights", {"clean": [90, 70], "a": [40, 10]}, 5.0, model_sha256="n" * 64)
    with pytest.raises(InputError, match="other weights, data or settings"):
        epsilon_curves([high, weights])
    assert step_curves(high) == {}
    cells = [cell("m", "clean", "x", 90)]
    cells += [cell("m", f"a{n}", "x", score, settings__attack__steps=n) for n, score in ((5, 20), (1, 50))]
    found = step_curves(read_results(write(tmp_path / "steps", cells)))
    assert found == {("m", "a1 to a5"): [(1, pytest.approx(50)), (5, pytest.approx(20))]}


def test_commands_repeat_the_row(made_results) -> None:
    words = shlex.split(command(made_results, made_results.cells[NASTY, "ifgsm", "case_0"]))
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert words[:3] == ["robust3d", "run", "bench"]
    assert given == {
        "--model": NASTY, "--attack": "ifgsm", "--epsilon": "10.2", "--seed": "0", "--storage": "float32",
        "--precision": "exact", "--out": "runs/again",
    }  # fmt: skip


def test_flags(made_results, tmp_path) -> None:
    finding = {"check": "steps", "verdict": "flag", "figures": [], "meaning": "m", "remedy": "r"}
    content = {
        "schema": 1, "model": "robust", "model_sha256": "m" * 64, "attack": {"name": "ifgsm"},
        "threat": {"norm": "linf", "epsilon": 10.2, "unit": "HU", "valid": [-100.0, 240.0], "storage": "float32"},
        "cases": [{"case": "x", "findings": [finding, finding | {"check": "b", "verdict": "ok"}]}],
    }  # fmt: skip
    path = tmp_path / "findings.json"
    path.write_text(json.dumps(content))
    report = read_report(path)
    flags = raised_flags([report, report], {"m" * 64})
    assert flags == [Flag("steps", "m", "r", ("x",))]
    assert raised_flags([report], {"other"}) is None
    view = board_view(made_results, {"fgsm": "a", "ifgsm": "b"}, {"robust": flags})
    assert [row[-1].text for row in view.rows] == ["not examined", "1: steps"]
    for wrong in ({"schema": 9}, {"cases": 3}):
        path.write_text(json.dumps(content | wrong))
        with pytest.raises(InputError):
            read_report(path)


@pytest.mark.parametrize("extra", [[], ["--out"]])
def test_command_never_overwrites_what_is_not_a_report(tmp_path, monkeypatch, capsys, extra) -> None:
    folder = write(tmp_path / "run", table({"clean": [90, 70], "a": [50, 10]}))
    target = tmp_path / "other" if extra else folder / "report"
    arguments = ["robust3d", "report", str(folder), "--cases", "0", *([*extra, str(target)] if extra else [])]

    def call() -> int:
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    assert call() == 0
    first = (target / "index.html").read_bytes()
    assert call() == 0
    assert (target / "index.html").read_bytes() == first
    (target / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert call() == 2
    err = capsys.readouterr().err
    assert "holds notes.txt, which is no part of a robust3d report" in err
    assert err.count("\n") == 1
    assert (target / "notes.txt").read_text() == "mine"
    assert (target / "index.html").read_bytes() == first
    assert not list(target.parent.glob(".partial-*"))


def test_what_cannot_be_recomputed_is_said(tmp_path, monkeypatch, capsys) -> None:
    folder = write(tmp_path / "run", table({"clean": [90, 70], "a": [50, 10]}))
    monkeypatch.setattr(sys, "argv", ["robust3d", "report", str(folder)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "unknown benchmark 'bench'" in capsys.readouterr().err
    assert not (folder / "report").exists()
