"""The report for machines that run checks: JUnit XML and GitHub's workflow commands."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree as Xml

from ebnn.regress.outcome import Outcome, Report, condensed
from ebnn.regress.report_text import shown

# What XML 1.0 cannot hold (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """JUnit XML: a suite for each entry and board, a case for each kind of figure, and one for what
    must be as it was (compiler, flags, data, weights).

    A figure that got worse is a failure; an entry that could not be measured is an error.
    """
    suites = Xml.Element("testsuites", name="ebnn regress")
    for outcome in report.outcomes:
        cases = _cases(outcome, report.strict)
        failures = sum(text is not None for _, text in cases) if not outcome.error else 0
        suite = Xml.SubElement(
            suites,
            "testsuite",
            name=_xml(outcome.name),
            tests=str(len(cases)),
            failures=str(failures),
            errors="1" if outcome.error else "0",
            skipped="0",
        )
        for name, text in cases:
            case = Xml.SubElement(
                suite, "testcase", classname=_xml(f"regress.{outcome.name}"), name=_xml(name),
                file=_xml(outcome.file), line=str(outcome.line),
            )  # fmt: skip
            if text is not None:
                kind = "error" if outcome.error else "failure"
                found = Xml.SubElement(case, kind, message=_xml(text.splitlines()[0]), type=kind)
                found.text = _xml(text)
    for key in ("tests", "failures", "errors"):
        suites.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    Xml.indent(suites)
    return Xml.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _cases(outcome: Outcome, strict: bool) -> list[tuple[str, str | None]]:
    """Each case's name, and what is wrong with it."""
    details = "\n".join(_details(outcome))
    if outcome.error:
        return [("measured", f"{outcome.error}\n{details}".strip())]
    failing = [cause.text for cause in outcome.causes if cause.fails]
    cases: list[tuple[str, str | None]] = [
        ("as measured", "\n".join([*failing, details]) if failing else None)
    ]
    kinds = dict.fromkeys(one.metric.split(".")[0] for one in outcome.comparisons)
    for kind in kinds:
        bad = [
            str(one)
            for one in shown(outcome)
            if one.metric.split(".")[0] == kind
            and (one.verdict == "worse" or (strict and one.verdict == "better"))
        ]
        cases.append((kind, "\n".join([*bad, details]) if bad else None))
    return cases


def _details(outcome: Outcome) -> list[str]:
    lines = [cause.text for cause in outcome.causes]
    for explanation in outcome.explanations:
        lines += [f"{explanation.about}:", *(f"  {line}" for line in explanation.lines)]
    return lines


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def github_annotations(report: Report) -> list[str]:
    """GitHub's workflow commands: an `::error` for each entry that fails, a `::warning` for each
    that got better."""
    lines = []
    for outcome in report.outcomes:
        failures = outcome.failures
        better = [str(one) for one in condensed(outcome.having("better"))]
        if failures:
            lines.append(_command("error", outcome, [*failures, *outcome.hints]))
        if better:
            what = "error" if report.strict else "warning"
            lines.append(_command(what, outcome, ["tighten the baseline", *better], details=False))
    return lines


def _command(level: str, outcome: Outcome, texts: list[str], details: bool = True) -> str:
    if details:
        for explanation in outcome.explanations:
            texts = [*texts, f"{explanation.about}:", *(f"  {one}" for one in explanation.lines)]
    file, title = _property(_from_here(outcome.file)), _property(f"{outcome.name}: {texts[0]}")
    return f"::{level} file={file},line={outcome.line},title={title}::{_data(chr(10).join(texts))}"


def _from_here(file: str) -> str:
    """A path from the workflow's folder, as GitHub wants it."""
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())
    try:
        return Path(file).resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return file


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
