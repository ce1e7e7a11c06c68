# SPDX-License-Identifier: Apache-2.0
"""A verdict of the gate as JUnit XML, the format in which CI systems read test results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from robust3d.benchmarks.gate.verdict import DEFINITIONS, Verdict
from robust3d.report.gate import cells, how, remarks

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""

_SUITE = "robust3d check"


def verdict_junit(verdict: Verdict) -> str:
    """Return one suite with a test case a row; a regression is a failure."""
    suite = _element(
        None, "testsuite", name=_SUITE, tests=len(verdict.rows), failures=len(verdict.regressions), errors=0, skipped=0
    )
    for row in verdict.rows:
        case = _element(suite, "testcase", classname=row.model, name=f"{row.attack}, class {row.label}")
        figures = "\n".join(f"{name}: {text}" for name, text in zip(DEFINITIONS, cells(row), strict=False))
        if row.regression:
            message = f"lost {row.loss:.2f} points of DSC, at least {row.low:.2f}"
            _element(case, "failure", figures, message=message, type="regression")
        else:
            _element(case, "system-out", figures)
    _element(suite, "system-out", "\n".join([verdict.headline, how(verdict), *remarks(verdict)]))
    return _document(suite)


def refusal_junit(problems: Sequence[str]) -> str:
    """Return one suite with an error for every reason why nothing was compared."""
    suite = _element(None, "testsuite", name=_SUITE, tests=len(problems), failures=0, errors=len(problems), skipped=0)
    for number, problem in enumerate(problems, start=1):
        case = _element(suite, "testcase", classname="comparability", name=f"reason {number}")
        _element(case, "error", problem, message=problem, type="cannot compare")
    return _document(suite)


def _element(
    parent: ElementTree.Element | None, tag: str, text: str | None = None, **attributes: object
) -> ElementTree.Element:
    clean = {name: _NOT_XML.sub("\ufffd", str(value)) for name, value in attributes.items()}
    element = ElementTree.Element(tag, clean) if parent is None else ElementTree.SubElement(parent, tag, clean)
    element.text = text and _NOT_XML.sub("\ufffd", text)
    return element


def _document(suite: ElementTree.Element) -> str:
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
