"""Say what is installed, what is missing, what each thing is for and how to get it."""

from __future__ import annotations

import argparse

HELP = "say what is missing and how to get it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    import dataclasses
    import json

    from ebnn.toolchain.doctor import examine

    findings = examine()
    works = all(finding.found for finding in findings if finding.required)
    if args.json:
        rows = [{**dataclasses.asdict(finding), "found": finding.found} for finding in findings]
        print(json.dumps({"works": works, "findings": rows}, indent=2))
        return 0 if works else 2

    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for title in ("", "what", "version", "needed for"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        mark = "[green]ok" if finding.found else "[red]no" if finding.required else "[yellow]-"
        version = escape(finding.version or "missing")
        table.add_row(mark, escape(finding.name), version, escape(finding.needed_for))
    console = Console()
    console.print(table)
    # Below the table and unwrapped, so that a command can be copied.
    for finding in findings:
        if not finding.found:
            missing = "missing" if finding.required else "missing, optional"
            line = f"{finding.name} ({missing}): {finding.how_to_get}"
            console.print(escape(line), soft_wrap=True, highlight=False)
    console.print(
        "Lowering, building and emulating work here."
        if works
        else "Lowering, building and emulating need what is marked no."
    )
    return 0 if works else 2
