"""The report on a terminal, and as Markdown for the summary of a CI step."""

from __future__ import annotations

import html
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from ebnn.regress.outcome import Comparison, Outcome, Report, condensed
from ebnn.sim.errors import printable
from ebnn.sim.render import flash_text, model_text

_STYLES = {"worse": "red", "better": "green", "new": "yellow", "allowed": "yellow"}
_MARKS = {0: "passed", 1: "FAILED", 2: "NOT MEASURED", 3: "FAULTED"}


def shown(outcome: Outcome) -> list[Comparison]:
    """The figures that are not as they were."""
    return condensed(one for one in outcome.comparisons if one.verdict != "same")


def advice(report: Report) -> list[str]:
    """What to do next."""
    lines = []
    if report.improved:
        must = " (this fails: --strict)" if report.strict else ""
        lines.append(f"better than the baseline{must}: tighten it with `ebnn regress update`")
    if any(one.failures and not one.error for one in report.outcomes):
        lines.append("where the change is meant: `ebnn regress update`, and commit its diff")
    return [*report.notes, *lines]


def models(report: Report) -> list[str]:
    """What counted the cycles on each board, and how far it is from real ones."""
    lines = [
        f"cycles of {one.board}, {flash_text(model)}: model {model_text(model)}"
        for one in report.outcomes
        for model in one.models
    ]
    return list(dict.fromkeys(lines))


def print_update(report: Report, console: Console) -> None:
    """What the update changes in the baseline, entry by entry."""
    for outcome in report.outcomes:
        failed = outcome.error and not outcome.toolchain
        new = outcome.error and outcome.toolchain
        changed = any(one.kind != "companion" for one in outcome.causes) or shown(outcome)
        mark = "NOT MEASURED" if failed else "new" if new else "changed" if changed else "as it was"
        style = "red" if failed else "green"
        console.print(f"[bold]{escape(outcome.name)}[/] [{style}]{mark}[/]", highlight=False)
        for text, style in _lines(outcome) if not new else ():
            console.print(f"  {escape(printable(text))}", style=style, highlight=False)
    for line in report.notes:
        console.print(escape(line), highlight=False)


def print_report(report: Report, console: Console) -> None:
    """What changed and where, entry by entry; what stayed is one line."""
    for outcome in report.outcomes:
        code = outcome.exit_code
        mark = f"[{'red' if code else 'green'}]{_MARKS[code]}[/]"
        same = len(outcome.having("same"))
        figures = f"{same} of {len(outcome.comparisons)} figures as in the baseline"
        tail = "" if outcome.error else f": {figures}, {outcome.toolchain}"
        console.print(f"[bold]{escape(outcome.name)}[/] {mark}{escape(tail)}", highlight=False)
        for text, style in _lines(outcome):
            console.print(f"  {escape(printable(text))}", style=style, highlight=False)
    for line in [*advice(report), *models(report)]:
        console.print(escape(line), highlight=False, soft_wrap=True)


def _lines(outcome: Outcome) -> Iterator[tuple[str, str]]:
    if outcome.error:
        yield outcome.error, "red"
    for cause in outcome.causes:
        yield cause.text, "red" if cause.fails else "yellow"
    for one in shown(outcome):
        yield f"{one.verdict}: {one}", _STYLES[one.verdict]
    for explanation in outcome.explanations:
        yield f"{explanation.about}:", ""
        for line in explanation.lines:
            yield f"  {line}", ""


def markdown(report: Report) -> str:
    """One table of what changed, and what explains it folded below."""
    verdict = {0: "passed", 1: "failed", 2: "failed: bad input", 3: "failed: the firmware faulted"}
    lines = [f"### Firmware figures: {verdict[report.exit_code]}", ""]
    rows = []
    for outcome in report.outcomes:
        name = _text(outcome.name)
        changes = shown(outcome)
        if outcome.error:
            rows.append(f"| {name} | - | | | | **{_text(_MARKS[outcome.exit_code])}** |")
        for one in changes:
            verdict_text = f"**{one.verdict}**" if one.verdict == "worse" else one.verdict
            rows.append(
                f"| {name} | {_text(one.metric)} | {one.value(one.before)} | "
                f"{one.value(one.after)} | {_text(one.change)} | {verdict_text} |"
            )
        if not changes and not outcome.error:
            text = "**changed, see below**" if outcome.exit_code else "as in the baseline"
            rows.append(f"| {name} | all {len(outcome.comparisons)} figures | | | | {text} |")
    lines += ["| entry | figure | baseline | now | change | verdict |",
              "| --- | --- | ---: | ---: | ---: | --- |", *rows, ""]  # fmt: skip
    for outcome in report.outcomes:
        details = list(_lines_of_details(outcome))
        if details:
            lines += [f"<details><summary>{_text(outcome.name)}</summary>", "", *details, ""]
            lines += ["</details>", ""]
    lines += [f"> {_text(line)}  " for line in [*advice(report), *models(report)]]
    return "\n".join(lines).rstrip("\n") + "\n"


def _lines_of_details(outcome: Outcome) -> Iterator[str]:
    for text in [*([outcome.error] if outcome.error else []), *(c.text for c in outcome.causes)]:
        yield f"- {_text(text)}"
    for explanation in outcome.explanations:
        yield f"- {_text(explanation.about)}"
        for line in explanation.lines:
            yield f"  - {_text(line)}"


def _text(text: str) -> str:
    """Text as Markdown shows it: no HTML, and no emphasis by the underscores and stars of C."""
    escaped = html.escape(printable(text), quote=False)
    for mark in "\\`*_[]|~#":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
