"""Hold firmware against a baseline of its cycles, memory and accuracy, or write that baseline."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ebnn.regress.outcome import Report

HELP = "check cycles, memory and accuracy against a baseline in your repository"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="measure, and fail where a figure got worse")
    check.add_argument("--strict", action="store_true", help="fail where a figure got better, too")
    check.add_argument("--junit", metavar="FILE", help="write JUnit XML")
    check.add_argument(
        "--markdown", metavar="FILE", help="write Markdown; added to $GITHUB_STEP_SUMMARY"
    )
    check.add_argument(
        "--annotations",
        action="store_true",
        help="print GitHub's ::error lines (as it is where GITHUB_ACTIONS is true)",
    )
    update = actions.add_parser("update", help="measure, and write the figures to the baseline")
    update.add_argument(
        "--prune",
        action="store_true",
        help="drop figures of other toolchains, and of entries and boards that are gone",
    )
    for action in (check, update):
        action.add_argument(
            "baseline",
            type=Path,
            nargs="?",
            default=Path("ebnn-regress.toml"),
            help="default ebnn-regress.toml",
        )
        action.add_argument(
            "--only", metavar="ENTRY", action="append", default=[], help="repeatable"
        )
        action.add_argument("--json", metavar="FILE", help="write the report; - prints it")
        # argparse.SUPPRESS leaves `ebnn regress --debug check` as it was set before the action.
        action.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show tracebacks of errors",
        )


def run(args: argparse.Namespace) -> int:
    import sys

    from rich.console import Console

    from ebnn.files import check_writable
    from ebnn.regress import runner

    for name in ("json", "junit", "markdown"):
        path = getattr(args, name, None)
        if path and path != "-" and not _is_step_summary(path):
            check_writable(Path(path))
    console = Console(stderr=True)

    def progress(name: str) -> None:
        if sys.stderr.isatty():
            console.print(f"measuring {name}", style="dim", highlight=False)

    if args.action == "check":
        report = runner.check(args.baseline, args.only, args.strict, progress)
    else:
        report = runner.update(args.baseline, args.only, args.prune, progress)
    _write(report, args)
    if args.action == "check":
        return report.exit_code
    failed = [one.error_code for one in report.outcomes if one.error and not one.toolchain]
    if not failed:
        print(f"{args.baseline}: written", file=sys.stderr)
    return max(failed, default=0)


def _write(report: Report, args: argparse.Namespace) -> None:
    import json
    import os

    from rich.console import Console

    from ebnn.files import write_whole
    from ebnn.regress.report_ci import github_annotations, junit
    from ebnn.regress.report_text import markdown, print_report, print_update

    text = json.dumps(report.to_dict(), indent=2) + "\n"
    if args.json == "-":
        print(text, end="")
    else:
        console = Console()
        # Piped output has no width of its own, and lines are for grep: never wrapped.
        show = print_report if args.action == "check" else print_update
        show(report, console if console.is_terminal else Console(width=100_000))
        if args.json:
            write_whole(Path(args.json), text.encode())
    if args.action != "check":
        return
    if args.junit:
        write_whole(Path(args.junit), junit(report).encode())
    if args.markdown and _is_step_summary(args.markdown):
        with Path(args.markdown).open("a", encoding="utf-8") as file:
            file.write(markdown(report))
    elif args.markdown:
        write_whole(Path(args.markdown), markdown(report).encode())
    if args.json != "-" and (args.annotations or os.environ.get("GITHUB_ACTIONS") == "true"):
        for line in github_annotations(report):
            print(line)


def _is_step_summary(path: str) -> bool:
    """Whether it is the file that GitHub gave the step: other lines of the step may be in it."""
    import os

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    return bool(summary) and Path(path) == Path(str(summary))
