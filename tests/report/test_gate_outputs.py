# SPDX-License-Identifier: Apache-2.0
"""A verdict as Markdown, JUnit XML and GitHub commands, with names that try to break out of each."""

from xml.etree import ElementTree

import numpy as np
import pytest

from robust3d.benchmarks.gate.compare import Comparison, PairedRow
from robust3d.benchmarks.gate.verdict import DEFINITIONS, judge
from robust3d.report.gate import refusal_markdown, verdict_markdown
from robust3d.report.github import refusal_annotations, verdict_annotations
from robust3d.report.junit import refusal_junit, verdict_junit

EVIL = 'm|<b>&"]]>\x00::error,50%\nnext'


@pytest.fixture
def verdict():
    before, wobble = np.linspace(60, 80, 8), np.resize([0.5, -0.5], 8)
    rows = (
        PairedRow(EVIL, "clean", "1", before, before + wobble),
        PairedRow("plain", "ifgsm", "1", before, before - 5 + wobble),
        PairedRow("plain", "pgd", "2", before, before - 9 + wobble),
    )
    return judge(Comparison(tuple("abcdefgh"), rows, ("a <note> | of two\nlines",)))


def test_markdown_keeps_its_table(verdict) -> None:
    text = verdict_markdown(verdict)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3
    unescaped = [line.replace("\\|", "").count("|") for line in rows]
    assert set(unescaped) == {len(DEFINITIONS) + 2}
    assert "<" not in text
    assert "**regression: 2 of 3 rows of 8 paired cases lost DSC**" in text
    assert "- note: a &lt;note> \\| of two lines" in text
    assert all(f"- **{name}**: " in text for name in DEFINITIONS)
    assert rows[3].startswith("| plain | ifgsm | 1 | 70.00 | 65.00 | 5.00 |")


def test_junit_is_xml_with_a_failure_a_regression(verdict) -> None:
    suite = ElementTree.fromstring(verdict_junit(verdict)).find("testsuite")
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "3", "failures": "2", "errors": "0",
    }  # fmt: skip
    cases = suite.findall("testcase")
    # Attributes of XML hold no line break of their own; NUL is none of its characters.
    assert cases[0].get("classname") == EVIL.replace("\x00", "\ufffd")
    assert [case.find("failure") is not None for case in cases] == [False, True, True]
    assert cases[2].find("failure").get("message").startswith("lost 9.00 points of DSC, at least 8.")
    assert "detectable: " in cases[0].find("system-out").text


def test_annotations_are_single_lines_and_the_largest_loss_comes_first(verdict) -> None:
    first, second = verdict_annotations(verdict)
    assert first.startswith(
        "::error title=robustness regression%3A plain%2C pgd%2C class 2::DSC 70.00 -> 61.00 %25%3A"[:75]
    )
    assert "lost 9.00 points over 8 cases" in first
    assert "ifgsm" in second
    (line,) = refusal_annotations([f"attack {EVIL}\r"])
    assert line == '::error title=robust3d check cannot compare::attack m|<b>&"]]>\x00::error,50%25%0Anext%0D'


def test_refusals() -> None:
    problems = ("one <b>", "two|")
    assert refusal_markdown(problems).splitlines()[2:] == ["**cannot compare**", "", "- one &lt;b>", "- two\\|"]
    suite = ElementTree.fromstring(refusal_junit(problems)).find("testsuite")
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("2", "2", "0")
    assert [error.get("message") for error in suite.iter("error")] == list(problems)
