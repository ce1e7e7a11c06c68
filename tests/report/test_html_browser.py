# SPDX-License-Identifier: Apache-2.0
"""The report in Chromium, opened from disk: the viewer shows the volumes, tables sort, nothing leaves the page."""

import shutil

import numpy as np
import pytest
from html_case import NASTY, MadeReplay

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        # WebGL in software, as in continuous integration; no sandbox, since tests may run as root.
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield started
        started.close()


@pytest.fixture
def page(browser, made_report, made_site):
    """A page that fails the test for any message, error or request beyond the folders of report and site."""
    opened = browser.new_page()
    # Milliseconds; WebGL in software on a busy machine is slow.
    opened.set_default_timeout(120_000)
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    homes = (made_report.as_uri(), made_site.as_uri())

    def watch(request) -> None:
        if not request.url.startswith((*homes, "data:", "blob:")):
            complaints.append(request.url)

    opened.on("request", watch)
    opened.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    yield opened
    assert not complaints
    assert opened.evaluate("window.harm") is None
    opened.close()


def first_column(page, table: str) -> list[str]:
    return page.locator(f"#{table} tbody tr > :first-child").all_inner_texts()


def test_tables_sort_by_keyboard(page, made_report) -> None:
    page.goto((made_report / "index.html").as_uri())
    assert first_column(page, "board") == [NASTY, "robust"]
    heading = page.locator("#board th", has_text="worst")
    heading.locator("button").focus()
    assert "lowest DSC that any attack" in heading.locator("[role=tooltip]").inner_text()
    for direction, names in (("ascending", [NASTY, "robust"]), ("descending", ["robust", NASTY])):
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == direction
        assert first_column(page, "board") == names
    assert page.locator("#board [aria-sort]:not([aria-sort=none])").count() == 1
    page.locator("#cases th button").first.click()
    page.locator("#cases th button").first.click()
    assert first_column(page, "cases") == ["case_1", "case_0"]
    assert page.locator("figure img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    # Nothing lies over the links to the pages of the cases.
    page.locator("#cases a").click(trial=True)
    page.locator(".gallery a", has_text="case_0").click(trial=True)


def test_definitions_lie_within_the_window(page, made_report) -> None:
    page.set_viewport_size({"width": 400, "height": 700})
    page.goto((made_report / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    for number in range(page.locator("#board th button").count()):
        page.locator("#board th button").nth(number).focus()
        tip = page.locator("#board [role=tooltip]").nth(number)
        tip.wait_for(state="visible")
        box = tip.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400
        assert box["y"] >= 0
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_the_public_board_sorts_with_the_same_script(page, made_site) -> None:
    page.goto((made_site / "index.html").as_uri())
    assert [path.name for path in made_site.glob("*.html")] == ["index.html"]
    heading = page.locator("#board-1 th", has_text="best known")
    assert heading.get_attribute("aria-sort") == "descending"
    assert first_column(page, "board-1") == ["robust", "natural"]
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert first_column(page, "board-1") == ["natural", "robust"]
    # The style is applied too, although it stands in the page.
    assert page.locator("#board-1").evaluate("one => getComputedStyle(one).borderSpacing") == "0px"


def test_viewer_shows_what_was_measured(page, made_report, made_results) -> None:
    page.goto((made_report / "case-0.html").as_uri())
    page.wait_for_selector("#status[data-layers='3']")
    assert page.locator("#status").inner_text() == "Shown: image, truth, prediction."
    made = MadeReplay(made_results).case("case_0", lambda key: None)
    values = "window.robust3dViewer.volumes.map(one => [...one.img])"
    image, truth, prediction = (
        np.reshape(one, made.origin.shape, order="F") for one in page.evaluate(values)
    )  # fmt: skip
    np.testing.assert_array_equal(image, made.origin)
    np.testing.assert_array_equal(truth, made.volume.label)
    np.testing.assert_array_equal(prediction, made.volume.label)
    page.select_option("#image", "ifgsm")
    page.check("#perturbation")
    page.wait_for_selector("#status[data-layers='4']")
    image, _, prediction, _ = (np.reshape(one, made.origin.shape, order="F") for one in page.evaluate(values))
    attacked = made.cells[NASTY, "ifgsm"]
    largest = np.abs(attacked.image - made.origin).max()
    np.testing.assert_allclose(image, attacked.image, rtol=0, atol=largest / 254 * 1.001)
    np.testing.assert_array_equal(prediction, attacked.mask)


def test_provenance(page, made_report) -> None:
    page.goto((made_report / "provenance.html").as_uri())
    assert page.locator("#rows tbody tr").count() == 6
    page.emulate_media(media="print", color_scheme="light")
    assert not page.locator("nav").is_visible()
